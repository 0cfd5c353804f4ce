import type { Report } from '../report.ts'

/** What servers say went wrong in them. */
export class LogWatch {
  #read = 0

  /** Counts the warnings since the last time, and reports what is worse. */
  check(log: string, report: Report): void {
    const lines = log.slice(this.#read).split('\n')
    this.#read = log.length
    const { warnings } = report.figures
    for (const line of lines.filter((each) => each.trim() !== '')) {
      const { level, said } = parse(line)
      if (level < WARNING) continue
      if (level > WARNING || /deadlock/i.test(line)) {
        report.violation(`a server logged: ${line.slice(0, 1500)}`)
      } else {
        warnings[said] = (warnings[said] ?? 0) + 1
      }
    }
  }
}

const WARNING = 40

function parse(line: string): { readonly level: number; readonly said: string } {
  try {
    const entry = JSON.parse(line) as {
      level?: number
      msg?: string
      err?: { message?: string }
    }
    const said = [entry.msg, entry.err?.message].filter((part) => part !== undefined).join(': ')
    return { level: entry.level ?? 0, said: said.slice(0, 120) }
  } catch {
    // A process that dies writes something else.
    return { level: /error/i.test(line) ? WARNING + 1 : 0, said: '' }
  }
}
