import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { type Side, type Sides, sides } from '../bench.ts'
import { dockerRegistry } from '../peers/docker-registry.ts'
import { type Peer, type PeerKind, plainSetup } from '../peers/peer.ts'
import { slipway } from '../peers/slipway.ts'
import { fillBoth } from './fill.ts'

export const kinds: Sides<PeerKind> = { ours: slipway, peer: dockerRegistry }

/** Both registries, which get more and more repositories. */
export class Stage {
  readonly #directories: Sides<string>
  readonly #running = new Map<Side, Peer>()
  readonly #closing = new AbortController()
  #repositories = 0

  constructor(directory: string) {
    this.#directories = { ours: path.join(directory, 'ours'), peer: path.join(directory, 'peer') }
  }

  /**
   * Fills both up to so many repositories and starts them anew, so that neither remembers anything.
   * What was pushed to them in the meantime stays.
   */
  async grow(repositories: number): Promise<Sides<Peer>> {
    if (this.#repositories === 0) {
      for (const side of sides) await mkdir(this.#directories[side])
      await this.#start()
    }
    const range = { first: this.#repositories, end: repositories }
    await fillBoth(this.#directories, range, this.#closing.signal)
    this.#repositories = repositories
    await this.#stop()
    return this.#start()
  }

  /** Ends all that runs. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#stop()
  }

  async #stop(): Promise<void> {
    await Promise.all([...this.#running.values()].map((peer) => peer.stop()))
    this.#running.clear()
  }

  async #start(): Promise<Sides<Peer>> {
    const start = async (side: Side) => {
      const directory = this.#directories[side]
      const settings = { directory, setup: plainSetup, profileDirectory: undefined }
      const peer = await kinds[side].start(settings)
      this.#running.set(side, peer)
      return peer
    }
    return { ours: await start('ours'), peer: await start('peer') }
  }
}
