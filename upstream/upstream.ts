import type { Digest } from '../oci/digest.ts'
import type { Reference, Tag } from '../oci/reference.ts'

/** How one other registry is reached. */
export interface UpstreamSettings {
  /** What it is called here, such as `docker.io`. */
  readonly name: string
  /** Where its API is, such as `https://registry-1.docker.io`, without `/v2`. */
  readonly url: string
  readonly credentials?: UpstreamCredentials | undefined
  /** Hosts, besides its own, whose token service may get the credentials. */
  readonly realms: readonly string[]
  /** Certificates in PEM that are trusted besides those of the system. */
  readonly ca?: string | undefined
  /** Whether it, its token service and where it redirects to may have private addresses. */
  readonly privateAddresses: boolean
  /** Blobs fetched at a time, and as many manifests; more have to wait. */
  readonly concurrency: number
  /** With fewer requests left of what the upstream allows, tags are not asked for again. */
  readonly reserve: number
}

export type UpstreamCredentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A program as `docker-credential-…` with `get`: the host on its input, JSON as its answer. */
  | { readonly kind: 'command'; readonly command: readonly string[]; readonly seconds: number }

export interface Asking {
  /** Aborted when nobody waits any more, or the program ends: then its reason is what is thrown. */
  readonly signal: AbortSignal
}

export interface UpstreamTag {
  /** Undefined when the upstream does not say: then the manifest has to be fetched. */
  readonly digest: Digest | undefined
}

export interface UpstreamManifest {
  /** At most 4 MiB; not yet compared with any digest. */
  readonly bytes: Buffer
  readonly contentType: string
}

export interface UpstreamBlob {
  /** Of the whole blob, as the upstream says. */
  readonly sizeBytes: number
  /** From the offset asked for to the end, or to where the connection broke: then it throws. */
  readonly body: AsyncIterable<Uint8Array>
}

/** One other registry, asked as a client: spec, "Pull" and "Content Discovery". */
export interface UpstreamClient {
  readonly name: string
  /** Whether a tag may be asked for again: the upstream's rate limit leaves room for it. */
  readonly mayRevalidate: boolean
  /** HEAD of a manifest. @throws UpstreamFailure */
  statManifest(repository: string, reference: Reference, asking: Asking): Promise<UpstreamTag>
  /** @throws UpstreamFailure */
  getManifest(repository: string, reference: Reference, asking: Asking): Promise<UpstreamManifest>
  /** HEAD of a blob. @returns its size in bytes. @throws UpstreamFailure */
  statBlob(repository: string, digest: Digest, asking: Asking): Promise<number>
  /**
   * One request for the bytes from offset `first`. Where the upstream ignores the range, what is
   * before `first` is read and dropped. The connection ends with the loop over the body, or with
   * the signal: one of them has to come, as it holds one of the places that `concurrency` gives.
   *
   * @throws UpstreamFailure, also from the body
   */
  openBlob(
    repository: string,
    digest: Digest,
    asking: Asking & { readonly first: number },
  ): Promise<UpstreamBlob>
  /** @throws UpstreamFailure */
  listTags(
    repository: string,
    page: { readonly after: string; readonly limit: number },
    asking: Asking,
  ): Promise<{ readonly tags: readonly Tag[]; readonly more: boolean }>
  /**
   * The index of the spec, "Listing Referrers", all its pages as one.
   *
   * @returns undefined when the upstream has no such API
   * @throws UpstreamFailure
   */
  listReferrers(
    repository: string,
    subject: Digest,
    asking: Asking,
  ): Promise<readonly unknown[] | undefined>
  /** How it is doing, as far as this process knows. */
  condition(): UpstreamCondition
  /** Ends what is under way. */
  close(): void
}

export interface UpstreamCondition {
  /** Not asked before: it failed several times in a row, or said when to come back. */
  readonly brokenUntil: Date | undefined
  /** What its rate limit leaves, when it says so. */
  readonly budget: { readonly limit: number; readonly left: number; readonly at: Date } | undefined
  readonly lastError: { readonly message: string; readonly at: Date } | undefined
  /** Bytes received of it since the process began. */
  readonly fetchedBytes: number
}
