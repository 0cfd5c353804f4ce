import {
  CONTAINERD,
  type Content,
  expectStatus,
  FLOWS,
  type Flow,
  patch,
  put,
  Refused,
  startSession,
} from '../test/durability/support/pushes.ts'
import { type Client, detailsOf, expectOneOf, TryAgain } from './client.ts'
import {
  BUSY,
  type Contents,
  type Document,
  RARE,
  REPOSITORIES,
  signatureTag,
  TAGS,
} from './contents.ts'
import { short } from './journal.ts'

/** A push that does not get through by then is given up, as a client does. */
const ATTEMPTS = 8
/** A promise may be as old as a tenth of the grace period when it is given once more. */
const PART_OF_GRACE = 0.85
const SLOW_MS = 2500

/** In two requests with ranges, which S3 takes as parts. */
const CHUNKED: Flow = {
  name: 'POST, two PATCH with ranges, PUT',
  push: async (target, { bytes, digest }) => {
    const session = await startSession(target)
    const half = Math.ceil(bytes.length / 2)
    const [first, second] = [bytes.subarray(0, half), bytes.subarray(half)]
    expectStatus('PATCH', await patch(target, session, first, 0), 202)
    expectStatus('PATCH', await patch(target, session, second, half), 202)
    expectStatus('PUT', await put(target, session, digest), 201)
  },
}

const ALL_FLOWS = [...FLOWS, CHUNKED]

/** Pushes as clients do: what the registry has already is not sent. */
export class Pusher {
  readonly #client: Client
  readonly #contents: Contents
  /** Digests of uploads of any round that may have been cut off after their bytes were placed. */
  readonly #unfinished: Set<string>

  constructor(client: Client, contents: Contents, unfinished: Set<string>) {
    this.#client = client
    this.#contents = contents
    this.#unfinished = unfinished
  }

  async run(): Promise<void> {
    while (!this.#client.isEnding) {
      await this.#pushSomething()
      await this.#client.pause()
    }
  }

  async #pushSomething(): Promise<void> {
    const { random } = this.#client
    const { images, indexes } = this.#contents
    const repository = random.chance(0.05) ? RARE : random.one(BUSY)
    const tag = random.one(TAGS)
    const work = random.weighted<() => Promise<unknown>>([
      [50, () => this.#push(repository, random.one(images), tag)],
      [10, () => this.#push(repository, random.one(images), undefined)],
      [14, () => this.#push(repository, random.one(indexes), tag)],
      [14, () => this.#pushReferrer(repository, tag)],
      [8, () => this.#pushSignature(repository, tag)],
      [4, () => this.#pushEverywhere(random.one(images), tag)],
    ])
    await work()
  }

  async #pushReferrer(repository: string, tag: string): Promise<void> {
    const { random } = this.#client
    const referrer = random.one(this.#contents.referrers)
    const subject = referrer.subject?.subject ?? referrer.subject
    if (subject === undefined) return
    const steps = [
      () => this.#push(repository, subject, tag),
      () => this.#push(repository, referrer, undefined),
    ]
    if (random.chance(0.3)) steps.reverse()
    for (const step of random.chance(0.3) ? steps.slice(1) : steps) await step()
  }

  async #pushSignature(repository: string, tag: string): Promise<void> {
    const { random } = this.#client
    const { image, document } = random.one(this.#contents.signatures)
    if (random.chance(0.7)) await this.#push(repository, image, tag)
    await this.#push(repository, document, signatureTag(image.digest))
  }

  async #pushEverywhere(image: Document, tag: string): Promise<void> {
    await Promise.all(BUSY.map((repository) => this.#push(repository, image, tag)))
  }

  async #push(repository: string, document: Document, tag: string | undefined): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS && !this.#client.isEnding; attempt++) {
      try {
        if (await this.#tryPush(repository, document, tag)) return
      } catch (error) {
        if (!(error instanceof TryAgain)) throw error
        await this.#client.pause(500)
      }
    }
  }

  /** @returns false when something that the document names was gone again */
  async #tryPush(
    repository: string,
    document: Document,
    tag: string | undefined,
  ): Promise<boolean> {
    const { random, round } = this.#client
    /** By digest, when the request began that was told that it is there. */
    const promises = new Map<string, number>()
    const offers = random.some(document.blobs, document.blobs.length).map((blob) => async () => {
      promises.set(blob.digest, await this.#offer(repository, blob))
    })
    if (random.chance(0.5)) await Promise.all(offers.map((offer) => offer()))
    else for (const offer of offers) await offer()
    for (const child of document.children) {
      const since = await this.#offerChild(repository, child)
      if (since === undefined) return false
      promises.set(child.digest, since)
    }
    if (random.chance(0.1)) await this.#client.pause(SLOW_MS)

    const { mediaType, bytes, digest, name } = document
    const path = `/v2/${repository}/manifests/${tag ?? digest}`
    const answer = await this.#client.ask(
      { method: 'PUT', path, headers: { 'Content-Type': mediaType }, body: bytes },
      { kind: 'push', repository, digest, tag },
    )
    if (answer.status === 201) {
      round.report.figures.pushes++
      round.report.journal.note(`${this.#client.name} pushed ${name} ${short(digest)} to ${path}`)
      return true
    }
    const { code, details } = detailsOf(answer)
    if (code === 'MANIFEST_BLOB_UNKNOWN') this.#judge(repository, promises, details)
    else expectOneOf(this.#client, `PUT ${path}`, answer, [201])
    return false
  }

  /** Something is gone that a promise held, unless somebody took it. */
  #judge(repository: string, promises: ReadonlyMap<string, number>, missing: readonly string[]) {
    const { report, ledger, graceSeconds } = this.#client.round
    const now = performance.now()
    report.figures.repeatedPushes++
    for (const digest of missing) {
      const since = promises.get(digest)
      if (since === undefined) {
        report.violation(`${repository} lacks ${digest}, which was not pushed to`, [short(digest)])
        continue
      }
      if (now - since >= graceSeconds * 1000 * PART_OF_GRACE) continue
      if (ledger.mayBeTaken(repository, digest, { from: since, to: now })) continue
      report.violation(
        `${repository} lacks ${digest} ${Math.round(now - since)} ms after it said it had it`,
        [short(digest), `repositories/${repository}`],
      )
    }
  }

  /** @returns since when the repository says it has the blob, at the latest */
  async #offer(repository: string, blob: Content): Promise<number> {
    const { random } = this.#client
    const path = `/v2/${repository}/blobs/${blob.digest}`
    const asked = performance.now()
    const head = await this.#client.ask({ method: 'HEAD', path })
    if (head.status === 200) return asked
    expectOneOf(this.#client, `HEAD ${path}`, head, [200, 404])
    const since = performance.now()
    if (random.chance(0.25)) await this.#mount(repository, blob)
    else await this.#upload(repository, blob, random.one(ALL_FLOWS))
    return since
  }

  async #mount(repository: string, blob: Content): Promise<void> {
    const from = this.#client.random.one(REPOSITORIES)
    const query = `mount=${blob.digest}&from=${from}`
    const path = `/v2/${repository}/blobs/uploads/?${query}`
    const answer = await this.#client.ask({ method: 'POST', path })
    expectOneOf(this.#client, `POST ${path}`, answer, [201, 202])
    if (answer.status === 202) await this.#upload(repository, blob, CONTAINERD)
  }

  async #upload(repository: string, blob: Content, flow: Flow): Promise<void> {
    const from = performance.now()
    const what = `upload ${short(blob.digest)} by ${flow.name} to`
    try {
      await this.#client.send(what, repository, (to) => flow.push(to, blob))
    } catch (error) {
      this.#unfinished.add(blob.digest)
      if (!(error instanceof Refused)) throw error
      const { ledger } = this.#client.round
      const span = { from, to: performance.now() }
      const isExcused =
        error.answer.status === 404 && ledger.mayBeTaken(repository, blob.digest, span)
      if (!isExcused) expectOneOf(this.#client, what, error.answer, [])
      throw new TryAgain(error.message, { cause: error })
    }
  }

  /** @returns since when the repository says it has the manifest; undefined: something was missing */
  async #offerChild(repository: string, child: Document): Promise<number | undefined> {
    const since = performance.now()
    const path = `/v2/${repository}/manifests/${child.digest}`
    const head = await this.#client.ask({ method: 'HEAD', path })
    if (head.status === 200) return since
    expectOneOf(this.#client, `HEAD ${path}`, head, [200, 404])
    const pushed = performance.now()
    return (await this.#tryPush(repository, child, undefined)) ? pushed : undefined
  }
}
