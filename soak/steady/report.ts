/** What clients did, and what must not be. */
export class Report {
  requests = 0
  pushes = 0
  pulls = 0
  /** Bytes of pulled blobs and manifests whose digest was right. */
  verifiedBytes = 0
  tokens = 0
  /** Answers 503: the machine has other things to do. */
  unavailable = 0
  violations = 0
  /** What clients did that is no good, by kind. */
  readonly nuisances: Record<string, number> = {}

  violation(what: string): void {
    this.violations++
    if (this.violations <= MOST_SHOWN) console.error(`VIOLATION ${this.violations}: ${what}`)
  }

  nuisance(kind: string): void {
    this.nuisances[kind] = (this.nuisances[kind] ?? 0) + 1
  }
}

const MOST_SHOWN = 25
