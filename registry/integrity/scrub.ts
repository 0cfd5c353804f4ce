/*
 * Every blob is read again and again, so that bytes that were damaged are known before somebody needs
 * them. One process at a time does it, the blob first that was not verified for longest. What was
 * verified is in the rows, so nothing is read twice because a process died.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  findDueBlob,
  markVerified,
  measureBlobs,
  type VerifiableBlob,
  type VerificationCursor,
} from '../../storage/metadata/integrity.ts'
import type { WorkState } from '../../storage/metadata/periodic-work.ts'
import { type ClaimedWork, withClaimedWork } from '../claimed-work.ts'
import type { Registry } from '../registry.ts'
import { type Amount, DAY_MS, type ScrubTerms, spendingMs } from './pace.ts'
import { quarantine } from './quarantine.ts'
import type { ScrubCounts } from './scrub-counts.ts'
import { Throttle } from './throttle.ts'
import { requireOthers, verifyBlob } from './verify.ts'

export interface ScrubOptions extends ScrubTerms {
  readonly counts: ScrubCounts
  readonly signal: AbortSignal
}

/** Whoever has to wait for longer ends, and is asked again later. */
const PATIENCE_MS = 90_000
const PAGE = 10_000

/**
 * Verifies blobs that are due, as long as one is and its time has come. Nothing happens while another
 * process does it.
 *
 * @throws StorageUnavailable, and what the database throws: the blobs in question stay as they are
 */
export async function scrub(registry: Registry, options: ScrubOptions): Promise<void> {
  const { days, signal } = options
  if (days === 0) return
  await withClaimedWork(registry, { name: 'scrub', everySeconds: 0, signal }, async (work) => {
    const throttle = new Throttle(options.bytesPerSecond)
    let progress = await measured(registry, progressOf(work.state), work.signal)
    work.note({ ...progress })
    for (;;) {
      const waitMs = waitFor(progress)
      if (waitMs > PATIENCE_MS) return
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: work.signal })
      const due = { seconds: days * 86_400, after: progress.after }
      const blob = await findDueBlob(registry.db, due)
      if (blob === undefined) {
        work.note({ ...progress, after: undefined })
        return
      }
      const begunAtMs = Date.now()
      await scrubBlob(registry, blob, { throttle, work, counts: options.counts })
      const nextAtMs = begunAtMs + spendingMs(blob.sizeBytes, progress.amount, options)
      const { digest, verifiedAt } = blob
      progress = { ...progress, after: { digest, verifiedAt }, nextAtMs }
      work.note({ ...progress })
    }
  })
}

function waitFor({ nextAtMs }: Progress): number {
  const waitMs = nextAtMs - Date.now()
  return waitMs > DAY_MS ? 0 : waitMs // by a clock that was wrong
}

interface ScrubbingOne {
  readonly throttle: Throttle
  readonly work: ClaimedWork
  readonly counts: ScrubCounts
}

async function scrubBlob(
  registry: Registry,
  blob: VerifiableBlob,
  { throttle, work: { signal }, counts }: ScrubbingOne,
): Promise<void> {
  let problem: string | undefined
  try {
    problem = await verifyBlob(registry, blob, { throttle, signal })
  } catch (error) {
    signal.throwIfAborted()
    // One that cannot be read for a reason of its own must not keep the others.
    await requireOthers(registry)
    registry.log.warn({ err: error, digest: blob.digest }, 'blob not verified')
    return
  }
  if (problem === undefined) {
    await markVerified(registry.db, blob)
    counts.verified(blob.sizeBytes)
    return
  }
  const quarantined = await quarantine(registry, [{ blob, problem }])
  if (quarantined.length > 0) counts.quarantined()
}

/** How far the scrub is, as one process leaves it to the next. */
interface Progress {
  /** Everything, as it was at `measuredAtMs`. */
  readonly amount: Amount
  readonly measuredAtMs: number
  /** When the next blob may be read. */
  readonly nextAtMs: number
  /** What was looked at last, verified or not. */
  readonly after: VerificationCursor | undefined
}

function progressOf(state: WorkState): Progress {
  const nothing: Progress = {
    amount: { blobs: 0, bytes: 0 },
    measuredAtMs: 0,
    nextAtMs: 0,
    after: undefined,
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a state comes back as it was noted
  return { ...nothing, ...(state as Partial<Progress>) }
}

/** The same, with an amount that is no older than a day. */
async function measured(
  { db }: Registry,
  progress: Progress,
  signal: AbortSignal,
): Promise<Progress> {
  if (progress.measuredAtMs > Date.now() - DAY_MS) return progress
  let blobs = 0
  let bytes = 0
  for (let after: string | undefined = ''; after !== undefined; ) {
    signal.throwIfAborted()
    const page = await measureBlobs(db, { after, limit: PAGE })
    blobs += page.blobs
    bytes += page.bytes
    after = page.last
  }
  return { ...progress, amount: { blobs, bytes }, measuredAtMs: Date.now() }
}
