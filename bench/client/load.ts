import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Findings, Job } from './loads.ts'
import type { PullsJob, PullTimes } from './pulls.ts'
import type { Rate, RateLoad } from './rate.ts'

/** What the load generator tells the driver. */
export type LoadMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly result: LoadResult }
  | { readonly kind: 'failed'; readonly reason: string }

interface LoadResult extends Findings {
  readonly seconds: number
}

/** A load that waits in a process of its own, so that its work is not in anyone's way. */
export interface PreparedLoad {
  /** @throws Error when any of its requests failed */
  run(this: void): Promise<LoadResult>
}

/** @throws Error when the content or the connections could not be made */
export async function prepare(job: Job): Promise<PreparedLoad> {
  const child = fork(fileURLToPath(new URL('load-process.ts', import.meta.url)))
  child.send(job)
  await nextMessage(child)
  return {
    async run() {
      child.send('go')
      const message = await nextMessage(child)
      if (message.kind !== 'done') throw new Error(`unexpected ${message.kind}`)
      return message.result
    },
  }
}

/** Prepares and runs a load. Gives the seconds that the run took. */
export async function runLoad(job: Job): Promise<number> {
  const load = await prepare(job)
  return (await load.run()).seconds
}

/** @throws Error when any answer is not a 200 */
export async function measureHeads(load: Omit<RateLoad, 'method'>): Promise<Rate> {
  const prepared = await prepare({ ...load, kind: 'heads' })
  const { rate } = await prepared.run()
  if (rate === undefined) throw new Error('the load generator gave no rate')
  return rate
}

/** @throws Error when any answer is not the whole of the blob */
export async function measurePulls(pulls: Omit<PullsJob, 'kind'>): Promise<readonly PullTimes[]> {
  const prepared = await prepare({ ...pulls, kind: 'pulls' })
  return (await prepared.run()).pulls ?? []
}

async function nextMessage(child: ChildProcess): Promise<LoadMessage> {
  const ended = once(child, 'exit').then((): LoadMessage[] => [
    { kind: 'failed', reason: 'the load generator ended' },
  ])
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [LoadMessage]
  if (message.kind === 'failed') throw new Error(message.reason)
  return message
}
