import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Bench } from '../bench.ts'
import { type ContentFile, writeUniqueFile } from '../client/content.ts'
import { pullLayer, pushLayer } from '../client/curl.ts'
import { type Peer, plainSetup } from '../peers/peer.ts'
import { slipway } from '../peers/slipway.ts'
import type { Traffic } from './link.ts'
import type { LinkAnswer, LinkOrder } from './link-process.ts'

/** A fetch may wait for a disk between two pieces, but not for longer. */
const quietMs = 500

/** The registry that both sides pull through: another Slipway, behind a line that counts. */
export class Upstream {
  /** Itself: what is pushed here does not pass the line. */
  readonly registry: Peer
  /** Where the line begins. */
  readonly url: string
  readonly #link: ChildProcess

  constructor(registry: Peer, link: ChildProcess, linkPort: number) {
    this.registry = registry
    this.#link = link
    this.url = `http://127.0.0.1:${linkPort}`
  }

  /** From now on the line carries no more than that. */
  async limit(bytesPerSecond: number | undefined): Promise<void> {
    await this.#order({ bytesPerSecond: bytesPerSecond ?? null })
  }

  /** Does the work, waits until nobody asks for more, and says what was asked for. */
  async count<T>(work: () => Promise<T>): Promise<{ result: T; traffic: Traffic }> {
    await this.#order({ reset: true })
    const result = await work()
    for (;;) {
      const answer = await this.#order({})
      if (answer.quietMs >= quietMs) return { result, traffic: answer.traffic }
      await sleep(quietMs - answer.quietMs)
    }
  }

  /**
   * Pushes a layer that nobody has seen to a repository of that name. It is pulled once as well, so
   * that whoever is first to ask for it finds the upstream as the second does.
   */
  async pushUnique(bench: Bench, repository: string, sizeBytes: number): Promise<ContentFile> {
    const file = path.join(bench.directory, 'layer-of-upstream')
    try {
      const layer = await writeUniqueFile(file, sizeBytes)
      const { port } = this.registry
      await pushLayer({ port }, repository, layer)
      await pullLayer({ port }, repository, layer, 1)
      return layer
    } finally {
      await rm(file, { force: true })
    }
  }

  async #order(order: LinkOrder): Promise<LinkAnswer> {
    this.#link.send(order)
    return nextMessage<LinkAnswer>(this.#link)
  }
}

/** Starts an upstream on an empty directory for `work`, then ends it and removes its data. */
export async function withUpstream<T>(
  bench: Bench,
  work: (upstream: Upstream) => Promise<T>,
): Promise<T> {
  const directory = path.join(bench.directory, 'upstream')
  await mkdir(directory)
  const registry = await slipway.start({
    directory,
    setup: plainSetup,
    profileDirectory: undefined,
  })
  bench.running.add(registry)
  const link = fork(fileURLToPath(new URL('link-process.ts', import.meta.url)))
  try {
    link.send(registry.port)
    return await work(new Upstream(registry, link, await nextMessage<number>(link)))
  } finally {
    link.disconnect()
    await registry.stop()
    bench.running.delete(registry)
    await rm(directory, { recursive: true, force: true })
  }
}

async function nextMessage<T>(link: ChildProcess): Promise<T> {
  const heard = new AbortController()
  const { signal } = heard
  const ended = once(link, 'exit', { signal }).then(() => {
    throw new Error('the line to the upstream ended')
  })
  try {
    const [message] = (await Promise.race([once(link, 'message', { signal }), ended])) as [T]
    return message
  } finally {
    ended.catch(() => {}) // it is not waited for any more
    heard.abort()
  }
}
