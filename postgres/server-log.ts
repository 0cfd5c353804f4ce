/** The part of pino's Logger that the embedded server uses; lines of no interest go to `debug` when there is one. */
export interface EmbeddedLog {
  debug?(detail: object, message: string): void
  info(detail: object, message: string): void
  warn(detail: object, message: string): void
  error(detail: object, message: string): void
}

type Level = 'debug' | 'info' | 'warn' | 'error'

/** SQLSTATE and pid as `log_line_prefix` puts them; both are missing before the settings are read. */
const LINE =
  /^(?:(?<state>[0-9A-Z]{5}) (?<pid>\d+) |\S*postgres: )?(?<severity>[A-Z]+\d?): {1,2}(?<text>.*)$/

/** Lines that belong to the record before them. */
const CONTINUATIONS = new Set([
  'DETAIL',
  'HINT',
  'CONTEXT',
  'STATEMENT',
  'QUERY',
  'LOCATION',
  'BACKTRACE',
])

/** Sessions that end, or are refused, because the server starts or stops: not worth a look. */
const EXPECTED_STATES = new Set(['57P01', '57P03'])

/** System error, out of resources, internal error, data corrupted: a failing statement with a deeper cause. */
const GRAVE_STATE = /^(?:53|58|XX)/

/** What tells a person why a start takes long. */
const NOTABLE =
  /automatic recovery in progress|redo in progress|syncing data directory|not properly shut down/

/** A process of the server died, and all sessions with it. */
const ALARMING = /was terminated by signal|terminating any other active server processes/

/** Passes lines of the server's stderr on to our log, at the level a person should see them. */
export class ServerLog {
  readonly #log: EmbeddedLog
  #level: Level = 'debug'
  #recent: string[] = []

  constructor(log: EmbeddedLog) {
    this.#log = log
  }

  /** The last lines, to explain a failed start. */
  get recent(): string {
    return this.#recent.join('; ')
  }

  write(line: string): void {
    const { state, pid, severity, text } = LINE.exec(line)?.groups ?? {}
    this.#recent = [...this.#recent.slice(-4), text ?? line]
    if (severity !== undefined && !CONTINUATIONS.has(severity)) {
      this.#level = levelOf(severity, state ?? '', text ?? '')
    }
    const detail = {
      severity,
      state,
      pid: pid === undefined ? undefined : Number(pid),
      text: text ?? line,
    }
    this.#log[this.#level]?.(detail, 'postgres')
  }
}

function levelOf(severity: string, state: string, text: string): Level {
  if (EXPECTED_STATES.has(state)) return 'debug'
  switch (severity) {
    case 'PANIC':
    case 'FATAL':
      return 'error'
    case 'ERROR':
      // The caller of the statement gets the error; only what points beyond the statement is ours.
      return GRAVE_STATE.test(state) ? 'error' : 'debug'
    case 'WARNING':
      return 'warn'
    default:
      if (ALARMING.test(text)) return 'warn'
      return NOTABLE.test(text) ? 'info' : 'debug'
  }
}
