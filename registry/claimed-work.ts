import {
  claimPeriodicWork,
  finishPeriodicWork,
  renewPeriodicWork,
  type WorkState,
} from '../storage/metadata/periodic-work.ts'
import type { Registry } from './registry.ts'

const CLAIM_SECONDS = 60
const RENEW_MS = 15_000

export interface ClaimedWork {
  /** What the last to do it left. */
  readonly state: WorkState
  /** Aborted when it is to end, or another process may begin it. */
  readonly signal: AbortSignal
  /** Writes down, now and then, how far it is. */
  note(state: WorkState): void
}

export interface WorkOptions {
  readonly name: string
  /** Not sooner after it was finished; 0: at any time. */
  readonly everySeconds: number
  readonly signal: AbortSignal
}

/**
 * Runs `work` if it is due and no other process does it. What it noted last is there for the next
 * run, a few seconds' worth aside when the process died. When it throws it is due again as soon as its
 * claim has run out; an end that the signal asked for is none that is thrown.
 */
export async function withClaimedWork(
  { db, log, uploadLocks }: Pick<Registry, 'db' | 'log' | 'uploadLocks'>,
  { name, everySeconds, signal }: WorkOptions,
  work: (claimed: ClaimedWork) => Promise<void>,
): Promise<void> {
  const claim = { name, process: uploadLocks.writer, claimSeconds: CLAIM_SECONDS }
  const claimed = await claimPeriodicWork(db, { ...claim, everySeconds })
  if (claimed === undefined) return
  const ending = new AbortController()
  const end = () => ending.abort(signal.reason)
  signal.addEventListener('abort', end)
  let state = claimed.state
  let heldUntilMs = performance.now() + CLAIM_SECONDS * 1000
  const renew = async () => {
    const untilMs = performance.now() + CLAIM_SECONDS * 1000
    try {
      if (await renewPeriodicWork(db, { ...claim, state })) {
        heldUntilMs = untilMs
        return
      }
    } catch (error) {
      log.warn({ err: error, work: name }, 'claim not renewed')
      if (performance.now() + RENEW_MS < heldUntilMs) return // there is time to try again
    }
    ending.abort(new Error(`another process may do the work: ${name}`))
  }
  const renewing = setInterval(() => void renew(), RENEW_MS)
  try {
    await work({ state, signal: ending.signal, note: (next) => void (state = next) })
    await finishPeriodicWork(db, { ...claim, state })
  } catch (error) {
    if (signal.aborted) return
    // What was noted is for whoever goes on.
    await renew()
    throw error
  } finally {
    clearInterval(renewing)
    signal.removeEventListener('abort', end)
  }
}
