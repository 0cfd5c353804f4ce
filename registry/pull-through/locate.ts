import type { RepositoryName } from '../../oci/reference.ts'
import { isHostedNamespace } from '../../storage/metadata/repositories.ts'
import type { Registry } from '../registry.ts'
import { kindOf } from '../repositories.ts'
import type { Upstream, UpstreamRepository } from './upstreams.ts'

/** What a client asks for. */
export interface Asked {
  /** As the path has it. */
  readonly name: RepositoryName
  /** The registry it is meant for, as `?ns=` says; undefined without. */
  readonly namespace: string | undefined
  /** A manifest is how clients begin with a repository that they do not know. */
  readonly wants: 'manifest' | 'other content' | 'change'
}

/** Where it is found. */
export interface Located {
  /** Whose rules and content count. */
  readonly repository: RepositoryName
  /** Where it comes from when it is not here; undefined when nobody is to be asked. */
  readonly source: UpstreamRepository | undefined
  /** Whose name it is, unless something hosted has it: nothing can be pushed to it. */
  readonly upstream?: string
  /** `?ns=` decided. */
  readonly isScoped?: boolean
  /** The same name may be that of something hosted: nobody is to learn by the answer which it is. */
  readonly isAmbiguous?: boolean
}

/**
 * Finds out whether a name stands for something hosted here or for something of an upstream.
 *
 * Hosted repositories come first: one shadows what has the same name outside. Names without a
 * prefix are asked for outside only if nothing is hosted in the same namespace, so that a mistyped
 * private name does not get about, and is not answered by a stranger.
 *
 * @throws RegistryError NAME_UNKNOWN when the name is too long for what it stands for
 */
export async function locate(registry: Registry, asked: Asked): Promise<Located> {
  const { upstreams } = registry.pullThrough
  const { name, namespace, wants } = asked
  const hosted: Located = { repository: name, source: undefined }
  if (upstreams.all.length === 0) return hosted
  if (namespace !== undefined) {
    const upstream = upstreams.byHost(namespace)
    // One that is not known may be this registry, by a name of its own.
    return upstream === undefined ? hosted : scoped(registry, asked, upstream)
  }
  const prefixed = upstreams.byPrefix(name)
  if (prefixed !== undefined) return below(registry, prefixed.upstream, prefixed.remote)
  const source = wants === 'change' ? undefined : upstreams.plain?.repository(name)
  if (source === undefined || !(await mayLeave(registry, source, asked))) return hosted
  return { ...(await below(registry, source.upstream, name)), isAmbiguous: true }
}

async function scoped(
  registry: Registry,
  { name, wants }: Asked,
  upstream: Upstream,
): Promise<Located> {
  const isAmbiguous = upstream.rule.plain && wants !== 'change'
  const how = { isScoped: true, isAmbiguous }
  if (isAmbiguous && (await isHosted(registry, name))) {
    return { repository: name, source: undefined, ...how }
  }
  return { ...(await below(registry, upstream, name)), ...how }
}

async function below(registry: Registry, upstream: Upstream, remote: string): Promise<Located> {
  const repository = upstream.nameOf(remote)
  if (await isHosted(registry, repository)) return { repository, source: undefined }
  return { repository, source: upstream.repository(remote), upstream: upstream.rule.name }
}

async function isHosted(registry: Registry, name: RepositoryName): Promise<boolean> {
  return (await kindOf(registry, name)) === 'hosted'
}

/** Whether a name without a prefix may be asked for outside. */
async function mayLeave(
  registry: Registry,
  { remote, repository }: UpstreamRepository,
  { name, wants }: Asked,
): Promise<boolean> {
  const [namespace = ''] = remote.split('/', 1)
  // That is a host: it is meant for another registry, which no upstream stands for.
  if (namespace.includes('.')) return false
  if ((await kindOf(registry, name)) !== 'none') return false
  // A push begins by asking for blobs: the name of what is about to be hosted is nobody's business.
  if (wants !== 'manifest' && (await kindOf(registry, repository)) !== 'cache') return false
  return namespace === 'library' || !(await isHostedNamespace(registry.db, namespace))
}
