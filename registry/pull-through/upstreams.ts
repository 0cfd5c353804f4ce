import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { isRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import type { FetchKey } from '../../storage/metadata/fetches.ts'
import type { UpstreamFailure } from '../../upstream/failure.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'

/** By which names an upstream is reached, and for how long what it said is good. */
export interface UpstreamRule {
  /** What it is called, and how the names of its repositories here begin: `docker.io`. */
  readonly name: string
  /** What it stands for in `?ns=`. */
  readonly hosts: readonly string[]
  /** How names may begin to reach it, besides `name`. */
  readonly prefix: string
  /** Whether it answers names without a prefix, as a mirror that Docker is told to use has to. */
  readonly plain: boolean
  /** Whether a repository without a namespace is one below `library/`. */
  readonly library: boolean
  /** Of names there: what is asked for outside at all. */
  readonly allows: (remote: string) => boolean
  /** Seconds for which a tag is not asked for again. */
  readonly freshSeconds: number
  /** Seconds since the last answer for which a tag is served when the upstream fails. */
  readonly staleSeconds: number
  /** Seconds for which a "there is no such thing" is believed. */
  readonly negativeSeconds: number
  /** Bytes kept of it; 0 for any number. */
  readonly maxBytes: number
}

/** A repository of an upstream, and the one here that keeps what is pulled of it. */
export interface UpstreamRepository {
  readonly upstream: Upstream
  /** Its name there. */
  readonly remote: string
  /** Its name here: `docker.io/library/alpine`. */
  readonly repository: RepositoryName
}

/** What the row of the repository that keeps it has to say. */
export function cacheOf({ repository, upstream }: UpstreamRepository) {
  return { repository, upstream: upstream.rule.name }
}

/** What the fetch of a blob is claimed by. */
export function blobKey({ upstream }: UpstreamRepository, digest: Digest): FetchKey {
  return { upstream: upstream.rule.name, kind: 'blob', digest }
}

const FAILURES = 10_000
const PAUSE_SECONDS = 10

/** An upstream as this process knows it. */
export class Upstream {
  readonly rule: UpstreamRule
  readonly client: UpstreamClient
  readonly #failures = new LRUCache<string, UpstreamFailure>({ max: FAILURES })
  #taken = 0

  constructor(rule: UpstreamRule, client: UpstreamClient) {
    this.rule = rule
    this.client = client
  }

  /** How a repository of the upstream is called here. @throws RegistryError NAME_UNKNOWN for too long a name */
  nameOf(remote: string): RepositoryName {
    const name = `${this.rule.name}/${this.#expanded(remote)}`
    if (!isRepositoryName(name)) throw new RegistryError('NAME_UNKNOWN', `${name} is no name`)
    return name
  }

  /** @returns undefined when nothing of that name is to be asked for */
  repository(remote: string): UpstreamRepository | undefined {
    const full = this.#expanded(remote)
    const repository = `${this.rule.name}/${full}`
    if (!isRepositoryName(repository) || !this.rule.allows(full)) return undefined
    return { upstream: this, remote: full, repository }
  }

  /** @throws UpstreamFailure when the same was asked a short time ago, and failed for some time */
  refuse(key: string): void {
    const failure = this.#failures.get(key)
    if (failure !== undefined) throw failure
  }

  /**
   * Remembers that something is not there. Any other failure is remembered as well, but shorter,
   * where something can be served instead: then nobody has to wait for the next one.
   */
  remember(key: string, failure: UpstreamFailure, { isKept }: { readonly isKept: boolean }): void {
    if (this.#failures.get(key) === failure) return
    const isAbsent = failure.reason === 'unknown' || failure.reason === 'denied'
    const seconds = isAbsent ? this.rule.negativeSeconds : isKept ? PAUSE_SECONDS : 0
    if (seconds > 0) this.#failures.set(key, failure, { ttl: seconds * 1000 })
  }

  /** Bytes received since this was asked last. */
  takeFetched(): number {
    const { fetchedBytes } = this.client.condition()
    const fetched = fetchedBytes - this.#taken
    this.#taken = fetchedBytes
    return fetched
  }

  /** Everything may be asked for again. */
  forgetFailures(): void {
    this.#failures.clear()
  }

  #expanded(remote: string): string {
    return this.rule.library && !remote.includes('/') ? `library/${remote}` : remote
  }
}

/** All upstreams there are at the moment. They may be replaced while requests are under way. */
export class Upstreams {
  #all: readonly Upstream[] = []

  constructor(all: readonly Upstream[] = []) {
    this.#all = all
  }

  /** Those that are not in the new set end what they have under way. */
  replace(all: readonly Upstream[]): void {
    const gone = this.#all.filter((upstream) => !all.includes(upstream))
    this.#all = all
    for (const { client } of gone) client.close()
  }

  get all(): readonly Upstream[] {
    return this.#all
  }

  /** The one that stands for a host, as `?ns=` names it. */
  byHost(host: string): Upstream | undefined {
    return this.#all.find(({ rule }) => rule.hosts.includes(host.toLowerCase()))
  }

  /** The one that answers names without a prefix. */
  get plain(): Upstream | undefined {
    return this.#all.find(({ rule }) => rule.plain)
  }

  /** What a name that begins with an upstream's stands for; undefined for any other name. */
  byPrefix(name: string): { upstream: Upstream; remote: string } | undefined {
    for (const upstream of this.#all) {
      const { rule } = upstream
      const prefix = [rule.name, rule.prefix].find((each) => name.startsWith(`${each}/`))
      if (prefix !== undefined) return { upstream, remote: name.slice(prefix.length + 1) }
    }
    return undefined
  }

  /** Names under which the rules may know what a client calls `name`, besides `name` itself. */
  aliases(name: RepositoryName): RepositoryName[] {
    if (this.#all.length === 0) return []
    const prefixed = this.byPrefix(name)
    const found = prefixed
      ? prefixed.upstream.repository(prefixed.remote)
      : this.plain?.repository(name)
    return found === undefined || found.repository === name ? [] : [found.repository]
  }

  close(): void {
    for (const { client } of this.#all) client.close()
  }
}
