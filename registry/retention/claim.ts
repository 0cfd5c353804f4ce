import type { Queryable } from '../../storage/metadata/database.ts'
import {
  claimPeriodicWork,
  finishPeriodicWork,
  renewPeriodicWork,
} from '../../storage/metadata/periodic-work.ts'

const NAME = 'retention'
const CLAIM_SECONDS = 300
const RENEW_MS = 20_000

/** The right to carry the rules out, which one process has at a time. */
export interface Claim {
  /** To be called more often than every five minutes. @throws ClaimLost */
  renew(): Promise<void>
  /** The next run is due as long after as they are apart. Without it, when the claim runs out. */
  finish(): Promise<void>
}

/** It took too long, and another process may be at it. */
class ClaimLost extends Error {
  override readonly name = 'ClaimLost'

  constructor() {
    super('another run has begun meanwhile')
  }
}

/** @returns undefined when somebody else has it, or had it less than `everySeconds` ago */
export async function claimRun(
  db: Queryable,
  process: string,
  everySeconds: number,
): Promise<Claim | undefined> {
  const work = { name: NAME, process, claimSeconds: CLAIM_SECONDS }
  const claimed = await claimPeriodicWork(db, { ...work, everySeconds })
  if (claimed === undefined) return undefined
  let renewedMs = performance.now()
  return {
    renew: async () => {
      if (performance.now() - renewedMs < RENEW_MS) return
      if (!(await renewPeriodicWork(db, { ...work, state: claimed.state }))) throw new ClaimLost()
      renewedMs = performance.now()
    },
    finish: () => finishPeriodicWork(db, work),
  }
}
