import type { Journal } from './journal.ts'

/** What was counted; each is also a figure of the summary. */
export interface Figures {
  pushes: number
  pulls: number
  deletes: number
  /** Manifests pushed once more, because a blob they name went before any promise held it. */
  repeatedPushes: number
  /** Answers 503. */
  unavailable: number
  /** Requests without a whole answer, as the server was killed. */
  cut: number
  kills: number
  /** Times that a server was stopped and went on. */
  pauses: number
  /** Deaths at a step that was named, by step. */
  faults: Record<string, number>
  collectedManifests: number
  collectedBlobs: number
  collectedBytes: number
  /** Bytes in the storage that no row named, as a death had left them, until they were swept. */
  orphans: number
  deadlocks: number
  checks: number
  /** Warnings of servers, by what they say. */
  warnings: Record<string, number>
  losses: number
}

const MOST_SHOWN = 25

/** Counts, and collects what must not be. */
export class Report {
  readonly journal: Journal
  readonly figures: Figures = {
    pushes: 0,
    pulls: 0,
    deletes: 0,
    repeatedPushes: 0,
    unavailable: 0,
    cut: 0,
    kills: 0,
    pauses: 0,
    faults: {},
    collectedManifests: 0,
    collectedBlobs: 0,
    collectedBytes: 0,
    orphans: 0,
    deadlocks: 0,
    checks: 0,
    warnings: {},
    losses: 0,
  }

  constructor(journal: Journal) {
    this.journal = journal
  }

  /** Something must not be as it is. `words` find in the journal how it came about. */
  violation(what: string, words: readonly string[] = []): void {
    this.figures.losses++
    this.journal.note(`! ${what}`)
    if (this.figures.losses > MOST_SHOWN) return
    console.error(`\nVIOLATION ${this.figures.losses}: ${what}`)
    for (const line of this.journal.historyOf(words)) console.error(`    ${line}`)
  }

  get faultCount(): number {
    return Object.values(this.figures.faults).reduce((sum, count) => sum + count, 0)
  }
}
