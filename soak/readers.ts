import { digestOf } from '../test/durability/support/pushes.ts'
import { type Client, expectOneOf, TryAgain } from './client.ts'
import { type Contents, REPOSITORIES, signatureTag, TAGS } from './contents.ts'
import { namesOf } from './deleters.ts'
import { short } from './journal.ts'

const PAUSE_MS = 100

interface Named {
  readonly repository: string
  readonly tag: string
  /** When the pull began. */
  readonly from: number
}

/** Pulls whole images while others push and delete them. */
export class Reader {
  readonly #client: Client
  readonly #contents: Contents

  constructor(client: Client, contents: Contents) {
    this.#client = client
    this.#contents = contents
  }

  async run(): Promise<void> {
    while (!this.#client.isEnding) {
      try {
        await (this.#client.random.chance(0.3) ? this.#lookForDeleted() : this.#pullSomething())
      } catch (error) {
        if (!(error instanceof TryAgain)) throw error
      }
      await this.#client.pause(PAUSE_MS)
    }
  }

  async #pullSomething(): Promise<void> {
    const { random } = this.#client
    const signed = this.#contents.signatures.map(({ image }) => signatureTag(image.digest))
    await this.#pull({
      repository: random.one(REPOSITORIES),
      tag: random.one(random.chance(0.15) ? signed : TAGS),
      from: performance.now(),
    })
  }

  /** What was deleted and said to be so is served by nobody any more. */
  async #lookForDeleted(): Promise<void> {
    const { random, round } = this.#client
    const repository = random.one(REPOSITORIES)
    const { digest } = random.one([...this.#contents.byDigest.values()])
    const from = performance.now()
    const path = `/v2/${repository}/manifests/${digest}`
    const answer = await this.#client.ask({ method: 'GET', path })
    if (!expectOneOf(this.#client, `GET ${path}`, answer, [200, 404])) return
    const isGone = round.ledger.isGone(repository, digest, { from, to: performance.now() })
    if (answer.status === 404 || !isGone) return
    round.report.violation(`${repository} serves ${digest}, which was deleted`, [
      short(digest),
      `repositories/${repository}`,
    ])
  }

  async #pull(named: Named): Promise<void> {
    const { report, ledger } = this.#client.round
    const { repository, tag, from } = named
    const path = `/v2/${repository}/manifests/${tag}`
    const answer = await this.#client.ask({ method: 'GET', path })
    if (!expectOneOf(this.#client, `GET ${path}`, answer, [200, 404])) return
    const digest = answer.status === 404 ? undefined : digestOf(answer.body)
    const possible = ledger.possible(repository, tag, { from, to: performance.now() })
    if (!possible.has(digest)) {
      report.violation(
        `${repository}:${tag} is ${namesOf(new Set([digest]))}, not ${namesOf(possible)}`,
        [`${repository}/manifests/${tag}`, `repositories/${repository}`],
      )
    }
    if (digest === undefined) return
    if (await this.#pullContent(named, digest)) report.figures.pulls++
  }

  /** @returns whether all of it was there */
  async #pullContent(named: Named, digest: string): Promise<boolean> {
    const document = this.#contents.byDigest.get(digest)
    if (document === undefined) {
      this.#client.round.report.violation(`${digest} was served, and never pushed`, [short(digest)])
      return false
    }
    for (const child of document.children) {
      const got = await this.#get(named, digest, { kind: 'manifests', digest: child.digest })
      if (!got || !(await this.#pullContent(named, child.digest))) return false
    }
    for (const blob of document.blobs) {
      if (!(await this.#get(named, digest, { kind: 'blobs', digest: blob.digest }))) return false
    }
    return true
  }

  async #get(
    { repository, from }: Named,
    parent: string,
    { kind, digest }: { readonly kind: 'blobs' | 'manifests'; readonly digest: string },
  ): Promise<boolean> {
    const { report, ledger } = this.#client.round
    const path = `/v2/${repository}/${kind}/${digest}`
    const answer = await this.#client.ask({ method: 'GET', path })
    if (!expectOneOf(this.#client, `GET ${path}`, answer, [200, 404])) return false
    if (answer.status === 404) {
      const span = { from, to: performance.now() }
      if (!ledger.isKept(repository, parent, span)) return false
      report.violation(`${repository} lacks ${digest}, which ${short(parent)} names`, [
        short(digest),
        short(parent),
        `repositories/${repository}`,
      ])
      return false
    }
    if (digestOf(answer.body) === digest) return true
    report.violation(`GET ${path} sent bytes of another digest`, [short(digest)])
    return false
  }
}
