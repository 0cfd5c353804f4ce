import { type Digest, parseDigest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../oci/media-types.ts'
import type { Reference, Tag } from '../oci/reference.ts'
import { type AddressRule, isPublicAddress } from './addresses.ts'
import { type AuthenticatedAnswer, Authentication } from './authentication.ts'
import { BlobBody, readExtent } from './blob-answer.ts'
import { Budget } from './budget.ts'
import { Credentials } from './credentials.ts'
import type { Errand } from './errand.ts'
import { Errands, type SlotNeed } from './errands.ts'
import { nextPage, parseTagList } from './listings.ts'
import { askReferrers } from './referrers.ts'
import { type Question, RegistryApi } from './registry-api.ts'
import { Tokens } from './tokens.ts'
import { readWhole, Transport } from './transport.ts'
import type {
  Asking,
  UpstreamBlob,
  UpstreamClient,
  UpstreamCondition,
  UpstreamManifest,
  UpstreamSettings,
  UpstreamTag,
} from './upstream.ts'

export interface UpstreamOptions {
  /** Until there is a connection, with TLS if need be. */
  readonly connectMs?: number
  /** From a request to the head of its answer. */
  readonly headersMs?: number
  /** Without a byte of a body. */
  readonly idleMs?: number
  /** All of an operation, tokens and redirects included; of a blob, up to where its bytes begin. */
  readonly answerMs?: number
  readonly commandMs?: number
  /** What is no private address. */
  readonly isPublic?: AddressRule
  /** In milliseconds since 1970. */
  readonly now?: () => number
}

const DEFAULTS = {
  connectMs: 5000,
  headersMs: 15_000,
  idleMs: 30_000,
  answerMs: 20_000,
  commandMs: 10_000,
  isPublic: isPublicAddress,
  now: Date.now,
} as const satisfies UpstreamOptions

const MAX_TAGS_BYTES = 4_194_304

const MANIFESTS = {
  accept: [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT].join(', '),
}
const BYTES = { accept: '*/*' }
const JSON_TEXT = { accept: 'application/json' }

/** @throws Error when the URL or the certificates are none */
export function createUpstream(
  settings: UpstreamSettings,
  options: UpstreamOptions = {},
): UpstreamClient {
  return new RegistryClient(settings, { ...DEFAULTS, ...options })
}

class RegistryClient implements UpstreamClient {
  readonly name: string
  readonly #errands: Errands
  readonly #transport: Transport
  readonly #budget: Budget
  readonly #api: RegistryApi
  #fetchedBytes = 0

  constructor(settings: UpstreamSettings, options: Required<UpstreamOptions>) {
    const { name, realms, reserve } = settings
    const { now, answerMs: limitMs } = options
    const base = parseBase(settings)
    this.name = name
    this.#errands = new Errands({ ...settings, limitMs, now })
    const isAllowed = settings.privateAddresses ? () => true : options.isPublic
    const { ca } = settings
    this.#transport = new Transport({ ...options, name, ca, isAllowed, origin: base.origin })
    this.#budget = new Budget(reserve, now)
    const { closed } = this.#errands
    const transport = this.#transport
    const credentials = new Credentials(settings, options)
    const shared = { upstream: base, transport, credentials }
    const tokens = new Tokens({ ...shared, realms, limitMs, now, closed })
    const authentication = new Authentication({ ...shared, name, tokens })
    this.#api = new RegistryApi({ name, base, authentication, budget: this.#budget, now })
  }

  get mayRevalidate(): boolean {
    return this.#budget.leavesRoom
  }

  statManifest(repository: string, reference: Reference, asking: Asking): Promise<UpstreamTag> {
    return this.#do(asking, 'none', async ({ signal }) => {
      const path = `manifests/${formatPath(reference)}`
      // A registry without HEAD has to be asked with GET.
      const statuses = [200, 405, 501]
      const question = { repository, path, headers: MANIFESTS, statuses, signal }
      const { status, headers } = await this.#api.ask({ ...question, method: 'HEAD' })
      return { digest: status === 200 ? digestIn(headers['docker-content-digest']) : undefined }
    })
  }

  getManifest(repository: string, reference: Reference, asking: Asking): Promise<UpstreamManifest> {
    return this.#do(asking, 'soon', async ({ signal }) => {
      const path = `manifests/${formatPath(reference)}`
      const answer = await this.#get({ repository, path, headers: MANIFESTS, signal })
      const bytes = await readWhole(answer, MAX_MANIFEST_BYTES, this.#count)
      return { bytes, contentType: answer.headers['content-type'] ?? '' }
    })
  }

  statBlob(repository: string, digest: Digest, asking: Asking): Promise<number> {
    return this.#do(asking, 'none', async ({ signal }) => {
      const question = { repository, path: `blobs/${digest}`, headers: BYTES, signal }
      const answer = await this.#api.ask({ ...question, method: 'HEAD', statuses: [200] })
      return readExtent(answer, 0).sizeBytes
    })
  }

  async openBlob(
    repository: string,
    digest: Digest,
    { first, ...asking }: Asking & { readonly first: number },
  ): Promise<UpstreamBlob> {
    const errand = await this.#errands.begin(asking, 'some time')
    try {
      const range = first > 0 ? { range: `bytes=${first}-` } : {}
      const question = { repository, path: `blobs/${digest}`, headers: { ...BYTES, ...range } }
      const statuses = first > 0 ? [200, 206] : [200]
      const { signal } = errand
      const answer = await this.#api.ask({ ...question, method: 'GET', statuses, signal })
      const extent = readExtent(answer, first)
      errand.lift()
      const body = new BlobBody(answer, { extent, errand, onBytes: this.#count })
      return { sizeBytes: extent.sizeBytes, body }
    } catch (error) {
      const failure = errand.failed(error)
      errand.end()
      throw failure
    }
  }

  listTags(
    repository: string,
    { after, limit }: { readonly after: string; readonly limit: number },
    asking: Asking,
  ): Promise<{ readonly tags: readonly Tag[]; readonly more: boolean }> {
    return this.#do(asking, 'none', async ({ signal }) => {
      const page = new URLSearchParams({
        n: String(limit),
        ...(after === '' ? {} : { last: after }),
      })
      const path = `tags/list?${page.toString()}`
      const answer = await this.#get({ repository, path, headers: JSON_TEXT, signal })
      const body = await readWhole(answer, MAX_TAGS_BYTES, this.#count)
      return { tags: parseTagList(answer.who, body), more: nextPage(answer) !== undefined }
    })
  }

  listReferrers(
    repository: string,
    subject: Digest,
    asking: Asking,
  ): Promise<readonly unknown[] | undefined> {
    return this.#do(asking, 'none', ({ signal }) =>
      askReferrers(this.#api, { repository, subject, signal, onBytes: this.#count }),
    )
  }

  condition(): UpstreamCondition {
    return {
      brokenUntil: this.#errands.brokenUntil,
      budget: this.#budget.reading,
      lastError: this.#errands.lastError,
      fetchedBytes: this.#fetchedBytes,
    }
  }

  close(): void {
    this.#errands.close()
    this.#transport.close()
  }

  async #do<T>(asking: Asking, slot: SlotNeed, work: (errand: Errand) => Promise<T>): Promise<T> {
    const errand = await this.#errands.begin(asking, slot)
    try {
      const result = await work(errand)
      errand.succeeded()
      return result
    } catch (error) {
      throw errand.failed(error)
    } finally {
      errand.end()
    }
  }

  #get(question: Omit<Question, 'method' | 'statuses'>): Promise<AuthenticatedAnswer> {
    return this.#api.ask({ ...question, method: 'GET', statuses: [200] })
  }

  readonly #count = (bytes: number): void => {
    this.#fetchedBytes += bytes
  }
}

/** @throws Error unless the URL is that of a server, and nothing else */
function parseBase({ name, url }: UpstreamSettings): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined
  if (base === undefined || !/^https?:$/.test(base.protocol)) {
    throw new Error(`the URL of upstream ${name} is not one of http or https`)
  }
  if (base.username !== '' || base.password !== '' || base.search !== '' || base.hash !== '') {
    throw new Error(`the URL of upstream ${name} has more than a host and a path`)
  }
  return base
}

/** `reference` is one that was parsed: nothing in it means anything in a path. */
function formatPath(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest
}

function digestIn(header: string | string[] | undefined): Digest | undefined {
  try {
    return parseDigest(String(header))
  } catch {
    return undefined
  }
}
