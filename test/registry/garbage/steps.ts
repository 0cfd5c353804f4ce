import { collectGarbage } from '../../../registry/garbage/collect.ts'
import type { FaultPoint, Registry } from '../../../registry/registry.ts'
import type { Transaction } from '../../../storage/metadata/database.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { type Gate, gate, isWaiting } from '../gate.ts'

/** Work that stands still between two of its steps. */
export interface Stopped<T> {
  readonly at: FaultPoint
  /** Lets it go on, and waits for its end. */
  goOn(this: void): Promise<T>
}

export type Freed = Awaited<ReturnType<typeof collectGarbage>>

/**
 * Starts a collector, which stops where `stops` says; steps are counted from 1.
 *
 * @returns undefined when it ended without
 */
async function collectUntil(
  registry: Registry,
  stops: (at: FaultPoint, step: number) => boolean,
): Promise<Stopped<Freed> | undefined> {
  const barrier = gate()
  let steps = 0
  let stopped: FaultPoint | undefined
  const faultPoint = async (at: FaultPoint) => {
    steps++
    if (stopped !== undefined || !stops(at, steps)) return
    stopped = at
    await barrier.wait()
  }
  const collecting = collectGarbage({ ...registry, faultPoint })
  collecting.catch(() => {}) // whoever lets it go on hears of it
  await Promise.race([barrier.reached, collecting])
  if (stopped === undefined) return undefined
  const goOn = () => {
    barrier.open()
    return collecting
  }
  return { at: stopped, goOn }
}

/** The same, for a step that it must come to. */
export async function collectUpTo(
  registry: Registry,
  step: FaultPoint,
  nth = 1,
): Promise<Stopped<Freed>> {
  let met = 0
  const stopped = await collectUntil(registry, (at) => at === step && ++met === nth)
  if (stopped === undefined) throw new Error(`collected without coming to '${step}'`)
  return stopped
}

/** What happens while a collector stands at one of its steps. */
export interface Interleaving {
  /** Before it begins. @returns what the others are about */
  prepare(this: void): Promise<Registry>
  during(this: void): Promise<void>
  after(this: void, at: FaultPoint): Promise<void>
}

/**
 * Goes through it as often as a collector has steps, and stops the collector at another one each time.
 * What has to wait for a lock of the collector lets it go on.
 *
 * @returns where it stopped
 */
export async function atEachStep({ prepare, during, after }: Interleaving): Promise<FaultPoint[]> {
  const met: FaultPoint[] = []
  for (let round = 1; ; round++) {
    const registry = await prepare()
    const stopped = await collectUntil(registry, (_at, step) => step === round)
    if (stopped === undefined) return met
    met.push(stopped.at)
    const meanwhile = during()
    meanwhile.catch(() => {})
    // The only step at which it holds a lock, and only where bytes lie under their digest.
    const mayHold = stopped.at === 'blob bytes deleted' && registry.blobs.reusesLocations
    if (mayHold && (await isWaiting(meanwhile))) await stopped.goOn()
    await meanwhile
    await stopped.goOn()
    await after(stopped.at)
  }
}

/** Does `work` in a transaction that stays open until the gate is opened. */
export function holding(
  { db }: Pick<Registry, 'db'>,
  { wait }: Gate,
  work: (tx: Transaction) => Promise<unknown>,
): Promise<void> {
  return transaction(db, async (tx) => {
    await work(tx)
    await wait()
  })
}
