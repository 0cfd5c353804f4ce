import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { run } from './command.ts'
import { type Measured, measure, type Usage } from './measure/process-tree.ts'
import type { Scale } from './options.ts'
import type { Peer, PeerKind, Setup } from './peers/peer.ts'

export type Side = 'ours' | 'peer'

/** Something for Slipway and the same for the registry it is compared with. */
export type Sides<T> = Readonly<Record<Side, T>>

/** What a case needs to run. */
export interface Bench {
  readonly kinds: Sides<PeerKind>
  readonly scale: Scale
  readonly setup: Setup
  readonly profileDirectory: string | undefined
  /** Where both pull through; left out, they pull through nothing. */
  readonly upstreamUrl?: string
  /** A directory of this run; cases make what they need below it and remove it. */
  readonly directory: string
  /** The servers that run now, for whoever has to end early. */
  readonly running: Set<Peer>
}

/** Starts both registries on empty directories for `work`, then ends them and removes their data. */
export async function withPair<T>(
  bench: Bench,
  work: (pair: Sides<Peer>) => Promise<T>,
  setup: Setup = bench.setup,
): Promise<T> {
  const started: Peer[] = []
  const start = async (side: Side) => {
    const directory = path.join(bench.directory, side)
    await mkdir(directory)
    const { profileDirectory, upstreamUrl } = bench
    const settings = { directory, setup, profileDirectory, upstreamUrl }
    const peer = await bench.kinds[side].start(settings)
    started.push(peer)
    bench.running.add(peer)
    return peer
  }
  try {
    return await work({ ours: await start('ours'), peer: await start('peer') })
  } finally {
    await Promise.all(started.map((peer) => peer.stop()))
    started.forEach((peer) => bench.running.delete(peer))
    for (const side of sides) {
      await rm(path.join(bench.directory, side), { recursive: true, force: true })
    }
  }
}

export const sides: readonly Side[] = ['ours', 'peer']

/** Does the same with each side in turn: ours, the peer's, ours, … `rounds` times. */
export async function alternate<T>(
  pair: Sides<Peer>,
  rounds: number,
  work: (peer: Peer, round: number) => Promise<T>,
): Promise<Sides<T[]>> {
  const results: Sides<T[]> = { ours: [], peer: [] }
  for (let round = 1; round <= rounds; round++) {
    for (const side of sides) {
      results[side].push(await work(pair[side], round))
      // The dirty pages that one server left must not be written during the other's turn.
      await run('sync')
    }
  }
  return results
}

/** Runs `work` and says what the server used meanwhile. */
export function measureServer<T>(peer: Peer, work: () => Promise<T>): Promise<Measured<T>> {
  return measure(peer.roots, work)
}

/** The same figure of each round of each side. */
export function figures<T>(
  rounds: Sides<Measured<T>[]>,
  of: (result: T) => number,
): Sides<number[]> {
  return {
    ours: rounds.ours.map((round) => of(round.result)),
    peer: rounds.peer.map((round) => of(round.result)),
  }
}

export function usages<T>(rounds: Sides<Measured<T>[]>): Sides<Usage[]> {
  return {
    ours: rounds.ours.map((round) => round.usage),
    peer: rounds.peer.map((round) => round.usage),
  }
}
