import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sides } from '../bench.ts'
import { run } from '../command.ts'
import { makeShards, writeBlob } from './blob-files.ts'
import { layers } from './content.ts'

/** Numbers of repositories from `first` to before `end`. */
interface Range {
  readonly first: number
  readonly end: number
}

/** What one process writes. */
export interface FillJob extends Range {
  readonly kind: 'slipway' | 'docker-registry'
  /** The data folder, or the root of the storage. */
  readonly directory: string
}

/**
 * Adds generated repositories to both, of which Slipway runs. Resolves when all is on the disk.
 *
 * @throws Error when `signal` is aborted, or a process fails
 */
export async function fillBoth(
  directories: Sides<string>,
  { first, end }: Range,
  signal: AbortSignal,
): Promise<void> {
  const ours = path.join(directories.ours, 'data')
  const peer = path.join(directories.peer, 'data')
  if (first === 0) {
    for (const root of [path.join(ours, 'registry'), peer]) {
      makeShards(root)
      for (const layer of layers) writeBlob(root, layer)
    }
  }
  // The peer's are the more files, and by far.
  const middle = Math.floor((first + end) / 2)
  await Promise.all([
    runJob({ kind: 'slipway', directory: ours, first, end }, signal),
    runJob({ kind: 'docker-registry', directory: peer, first, end: middle }, signal),
    runJob({ kind: 'docker-registry', directory: peer, first: middle, end }, signal),
  ])
  await run('sync')
}

async function runJob(job: FillJob, signal: AbortSignal): Promise<void> {
  const child = fork(fileURLToPath(new URL('fill-process.ts', import.meta.url)), { signal })
  child.send(job)
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`filling ${job.kind} ended with ${code}`)
}
