import { type DestinationStream, destination, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export type { Logger }

export interface LogSettings {
  readonly level: string
  /** `auto` is pretty on a terminal and JSON elsewhere. */
  readonly format: 'auto' | 'pretty' | 'json'
}

/** One list of what must never be seen in a log, wherever it turns up. */
const SECRETS = ['authorization', 'cookie', 'password', 'secret', 'token']

/** Writes to standard output, unless only tests give another stream. */
export function createLog(
  { level, format }: LogSettings,
  stream: DestinationStream = standardOutput(format),
): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      serializers: { err: describeError },
      redact: SECRETS.flatMap((key) => [key, `*.${key}`]),
      timestamp: isoTime(),
    },
    stream,
  )
}

/** As pino's own, which makes the text anew for every line of a millisecond. */
function isoTime(): () => string {
  let ms = 0
  let text = ''
  return () => {
    const now = Date.now()
    if (now !== ms) text = `,"time":"${new Date(now).toISOString()}"`
    ms = now
    return text
  }
}

/** JSON in lines gathered for a moment so that a line costs little. */
function standardOutput(format: LogSettings['format']): DestinationStream {
  const forPeople = format === 'pretty' || (format === 'auto' && process.stdout.isTTY)
  return forPeople
    ? pretty({ colorize: process.stdout.isTTY, ignore: 'pid,hostname', sync: true })
    : destination({ fd: 1, sync: false, minLength: 4096, periodicFlush: 200 })
}

/** Drivers hang whole connections on their errors; a line has room for what went wrong. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { client: _client, ...described } = pino.stdSerializers.err(error)
  return described
}
