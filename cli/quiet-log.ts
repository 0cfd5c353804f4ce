import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

/** Of a command whose answer goes to standard output: warnings and worse, on standard error. */
export function createQuietLog(): Logger {
  return pino(
    { level: 'warn', base: null, serializers: { err: messageOf } },
    pretty({ destination: 2, sync: true, colorize: process.stderr.isTTY, ignore: 'time' }),
  )
}

function messageOf(error: unknown): unknown {
  return error instanceof Error ? error.message : error
}
