import { type Client, expectOneOf, TryAgain } from './client.ts'
import { type Contents, REPOSITORIES, signatureTag, TAGS } from './contents.ts'
import { short } from './journal.ts'
import type { Effect } from './ledger.ts'

const PAUSE_MS = 250
/** For each push, so that something is there however fast the machine is. */
const SHARE = 0.3
/** Things that are deleted at once, from the first to the last and from the last to the first. */
const OPPOSED = 6

/** Deletes tags, manifests, blobs and repositories, whatever needs them. */
export class Deleter {
  readonly #client: Client
  readonly #contents: Contents

  constructor(client: Client, contents: Contents) {
    this.#client = client
    this.#contents = contents
  }

  async run(): Promise<void> {
    const { figures } = this.#client.round.report
    while (!this.#client.isEnding) {
      if (figures.deletes < figures.pushes * SHARE) await this.#deleteSomething()
      await this.#client.pause(PAUSE_MS)
    }
  }

  async #deleteSomething(): Promise<void> {
    const { random } = this.#client
    const repository = random.one(REPOSITORIES)
    const blobs = [...this.#contents.blobs.keys()]
    const work = random.weighted<() => Promise<void>>([
      [40, () => this.#delete({ kind: 'delete tag', repository, tag: this.#anyTag() })],
      [
        25,
        () => this.#delete({ kind: 'delete manifest', repository, digest: this.#anyManifest() }),
      ],
      [20, () => this.#delete({ kind: 'delete blob', repository, digest: random.one(blobs) })],
      [12, () => this.#deleteInOppositeOrders(repository)],
      [4, () => this.#delete({ kind: 'delete repository', repository })],
    ])
    await work()
  }

  #anyTag(): string {
    const { random } = this.#client
    const signed = this.#contents.signatures.map(({ image }) => signatureTag(image.digest))
    return random.one(random.chance(0.2) ? signed : TAGS)
  }

  #anyManifest(): string {
    return this.#client.random.one([...this.#contents.byDigest.keys()])
  }

  async #deleteInOppositeOrders(repository: string): Promise<void> {
    const { random } = this.#client
    const digests = random.some([...this.#contents.byDigest.keys()], OPPOSED)
    const effects: Effect[] = random.chance(0.5)
      ? random.some(TAGS, OPPOSED).map((tag) => ({ kind: 'delete tag', repository, tag }))
      : digests.map((digest) => ({ kind: 'delete manifest', repository, digest }))
    const orders = [...effects, ...effects.toReversed()]
    await Promise.all(orders.map((effect) => this.#delete(effect)))
  }

  async #delete(effect: Effect): Promise<void> {
    const { report, ledger } = this.#client.round
    const path = pathOf(effect)
    const from = performance.now()
    let status: number
    try {
      const answer = await this.#client.ask({ method: 'DELETE', path }, effect)
      // 405: an index or an image needs it.
      expectOneOf(this.#client, `DELETE ${path}`, answer, [202, 404, 405])
      status = answer.status
    } catch (error) {
      if (error instanceof TryAgain) return
      throw error
    }
    if (status === 202) report.figures.deletes++
    if (status !== 404 || effect.kind !== 'delete tag') return
    const { repository, tag } = effect
    const possible = ledger.possible(repository, tag, { from, to: performance.now() })
    if (possible.has(undefined)) return
    report.violation(
      `${repository}:${tag} was not there to be deleted, and must be ${namesOf(possible)}`,
      [`${repository}/manifests/${tag}`, `repositories/${repository}`],
    )
  }
}

export function namesOf(digests: ReadonlySet<string | undefined>): string {
  return [...digests]
    .map((digest) => (digest === undefined ? 'absent' : short(digest)))
    .join(' or ')
}

function pathOf(effect: Effect): string {
  const { repository } = effect
  if (effect.kind === 'delete repository') return `/api/v1/repositories/${repository}`
  if (effect.kind === 'delete tag') return `/v2/${repository}/manifests/${effect.tag}`
  const place = effect.kind === 'delete blob' ? 'blobs' : 'manifests'
  return `/v2/${repository}/${place}/${effect.digest}`
}
