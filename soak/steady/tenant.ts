import type { Answer, Sending } from '../../test/durability/support/exchange.ts'
import { contentOf } from '../../test/durability/support/pushes.ts'
import { type Client, TryAgain } from './client.ts'
import { type Builder, type Pushed, pushedOf } from './images.ts'
import { begin, pushBlob, pushImage, scopeOf } from './pushing.ts'
import { isPublic, REPOSITORIES } from './repositories.ts'

const TAGS = Array.from({ length: 12 }, (_, number) => `v${number + 1}`)
/** Pushed once and then left alone. */
export const LARGE_TAG = 'large'
const PAGE = 5

const ACCEPT = {
  Accept: 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json',
}

/**
 * What happens to one repository. Nobody else changes it, and one thing is done after the other:
 * so each answer is known beforehand.
 */
export class Tenant {
  readonly repository: string
  readonly #builder: Builder
  readonly #tags = new Map<string, Pushed>()
  /** Nobody knows what they are, as the answer to a change was none. */
  readonly #uncertain = new Set<string>()
  #made = 0

  constructor(repository: string, builder: Builder) {
    this.repository = repository
    this.#builder = builder
  }

  async prepare(client: Client): Promise<void> {
    await this.#push(client, LARGE_TAG)
    for (const tag of TAGS.slice(0, 4)) await this.#push(client, tag)
  }

  async run(client: Client): Promise<void> {
    const { random } = client
    while (!client.isEnding) {
      const work = random.weighted<() => Promise<unknown>>([
        [9, () => this.#push(client, random.one(TAGS))],
        [30, () => this.#pull(client)],
        [30, () => this.#look(client)],
        [8, () => this.#listTags(client)],
        [3, () => this.#listCatalog(client)],
        [4, () => this.#deleteTag(client)],
        [2, () => this.#deleteManifest(client)],
        [3, () => this.#pushAndDeleteBlob(client)],
        [3, () => this.#cancel(client)],
        [3, () => client.fetchToken(scopeOf(this.repository))],
      ])
      await work().catch((error: unknown) => {
        if (!(error instanceof TryAgain)) throw error
      })
    }
  }

  /** Everything that must be there is pulled. */
  async check(client: Client): Promise<void> {
    for (const [tag, image] of this.#tags) await this.#pullAll(client, tag, image)
    await this.#listTags(client)
  }

  async #push(client: Client, tag: string): Promise<void> {
    const { random } = client
    const image = tag === LARGE_TAG ? this.#builder.largeImage() : this.#builder.image(random)
    await this.#changing(tag, () => pushImage(client, this.repository, image, tag))
    this.#tags.set(tag, pushedOf(image))
    client.load.report.pushes++
  }

  async #pull(client: Client): Promise<void> {
    // Seldom, as it is as much as all others together.
    const tags = client.random.chance(0.03) ? [LARGE_TAG] : this.#smallTags()
    const tag = client.random.one(tags)
    const image = tag === undefined ? undefined : this.#tags.get(tag)
    if (image === undefined) return
    await this.#pullAll(client, tag, image)
  }

  async #pullAll(client: Client, tag: string, { digest, blobs }: Pushed): Promise<void> {
    const manifest = await this.#read(client, { method: 'GET', path: `manifests/${tag}` })
    if (!client.verify(`${this.repository}:${tag}`, manifest, digest)) return
    for (const blob of blobs) {
      const path = `blobs/${blob.digest}`
      client.verify(path, await this.#read(client, { method: 'GET', path }), blob.digest)
    }
    client.load.report.pulls++
  }

  /** Requests that ask for little. */
  async #look(client: Client): Promise<void> {
    const { random } = client
    const tag = random.one([...this.#tags.keys()])
    const image = this.#tags.get(tag)
    if (image === undefined) return
    const blob = random.one(image.blobs)
    const manifest = `manifests/${image.digest}`
    const part = { Range: `bytes=0-${Math.min(blob.bytes, 1000) - 1}` }
    const known = { 'If-None-Match': `"${image.digest}"` }
    const [sending, status] = random.weighted<[Sending, number]>([
      [30, [{ method: 'HEAD', path: `manifests/${tag}` }, 200]],
      [15, [{ method: 'GET', path: manifest }, 200]],
      [10, [{ method: 'GET', path: `manifests/${tag}`, headers: known }, 304]],
      [20, [{ method: 'HEAD', path: `blobs/${blob.digest}` }, 200]],
      [10, [{ method: 'GET', path: `blobs/${blob.digest}`, headers: part }, 206]],
      [10, [{ method: 'GET', path: `referrers/${image.digest}` }, 200]],
      [5, [{ method: 'GET', path: 'manifests/no-such-tag' }, 404]],
    ])
    const answer = await this.#read(client, sending, status)
    if (sending.path === manifest) client.verify(manifest, answer, image.digest)
  }

  async #listTags(client: Client): Promise<void> {
    const listed: string[] = []
    let next: string | undefined = `tags/list?n=${PAGE}`
    while (next !== undefined) {
      const answer: Answer = await this.#read(client, { method: 'GET', path: next })
      const { tags } = JSON.parse(answer.body.toString()) as { tags: string[] }
      listed.push(...tags)
      next = /<[^>]*(tags\/list\?[^>]*)>/.exec(String(answer.headers['link'] ?? ''))?.[1]
    }
    const certain = listed.filter((tag) => !this.#uncertain.has(tag))
    const expected = [...this.#tags.keys()].toSorted()
    if (certain.join() === expected.join()) return
    client.load.report.violation(
      `${this.repository} has tags ${certain.join()}, not ${expected.join()}`,
    )
  }

  async #listCatalog(client: Client): Promise<void> {
    const path = `/v2/_catalog?n=${PAGE}`
    const scope = `registry:catalog:* ${scopeOf(this.repository)}`
    const answer = await client.askAs(scope, { method: 'GET', path }, 200)
    const { repositories } = JSON.parse(answer.body.toString()) as { repositories: string[] }
    const expected = REPOSITORIES.toSorted().slice(0, PAGE)
    if (repositories.join() === expected.join()) return
    client.load.report.violation(
      `the catalog begins with ${repositories.join()}, not ${expected.join()}`,
    )
  }

  async #deleteTag(client: Client): Promise<void> {
    const tag = client.random.one(this.#smallTags())
    if (tag === undefined) return
    const path = `manifests/${tag}`
    await this.#changing(tag, () => this.#own(client, { method: 'DELETE', path }, 202))
    this.#tags.delete(tag)
    await this.#read(client, { method: 'GET', path }, 404)
  }

  async #deleteManifest(client: Client): Promise<void> {
    const tag = client.random.one(this.#smallTags())
    const image = tag === undefined ? undefined : this.#tags.get(tag)
    if (image === undefined) return
    const path = `manifests/${image.digest}`
    await this.#changing(tag, () => this.#own(client, { method: 'DELETE', path }, 202))
    this.#tags.delete(tag)
    await this.#read(client, { method: 'HEAD', path }, 404)
  }

  async #pushAndDeleteBlob(client: Client): Promise<void> {
    const name = `${this.repository} lone ${this.#made++} ${client.random.next()}`
    const blob = contentOf(name, client.random.from(1, 50_000))
    await pushBlob(client, this.repository, blob)
    const path = `blobs/${blob.digest}`
    await this.#own(client, { method: 'DELETE', path }, 202)
    await this.#read(client, { method: 'HEAD', path }, 404)
  }

  async #cancel(client: Client): Promise<void> {
    const session = await begin(client, this.repository)
    const scope = scopeOf(this.repository)
    const body = Buffer.alloc(client.random.from(1, 100_000))
    await client.askAs(scope, { method: 'PATCH', path: session, body }, 202)
    await client.askAs(scope, { method: 'GET', path: session }, 204)
    await client.askAs(scope, { method: 'DELETE', path: session }, 204)
    await client.askAs(scope, { method: 'GET', path: session }, 404)
  }

  /** While it is under way, and when nobody knows how it ended, the tag may be anything. */
  async #changing(tag: string, change: () => Promise<unknown>): Promise<void> {
    const before = this.#tags.get(tag)
    this.#uncertain.add(tag)
    this.#tags.delete(tag)
    await change()
    this.#uncertain.delete(tag)
    if (before !== undefined) this.#tags.set(tag, before)
  }

  #smallTags(): string[] {
    return [...this.#tags.keys()].filter((tag) => tag !== LARGE_TAG)
  }

  #own(client: Client, sending: Sending, ...statuses: number[]): Promise<Answer> {
    const path = `/v2/${this.repository}/${sending.path}`
    return client.askAs(scopeOf(this.repository), { ...sending, path }, ...statuses)
  }

  /** Without a token where none is needed. */
  #read(client: Client, sending: Sending, status = 200): Promise<Answer> {
    const asked = { ...sending, headers: { ...ACCEPT, ...sending.headers } }
    if (!isPublic(this.repository)) return this.#own(client, asked, status)
    return client.ask({ ...asked, path: `/v2/${this.repository}/${sending.path}` }, status)
  }
}
