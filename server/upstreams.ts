import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { conflictsOf, parseUpstream, type UpstreamDefinition } from '../config/upstream-settings.ts'
import { compileGlob } from '../oci/glob.ts'
import { Upstream, type UpstreamRule, type Upstreams } from '../registry/pull-through/upstreams.ts'
import type { Registry } from '../registry/registry.ts'
import type { Changes } from '../storage/metadata/changes.ts'
import type { Queryable } from '../storage/metadata/database.ts'
import { listUpstreams } from '../storage/metadata/upstreams.ts'

export interface UpstreamsOptions {
  readonly config: Config
  readonly db: Queryable
  readonly log: Logger
}

/**
 * Loads the upstreams of the configuration and the database, and loads them again on each change
 * that is heard of.
 */
export async function followUpstreams(
  upstreams: Upstreams,
  options: UpstreamsOptions & Pick<Registry, 'cache'> & { readonly changes: Changes },
): Promise<void> {
  const { cache } = options
  const loader = new UpstreamLoader(upstreams, options)
  options.changes.on('upstreams changed', () => {
    // What was not there a moment ago may be there now, or may be asked for in another way.
    cache.forgetUpstreamTags()
    for (const upstream of upstreams.all) upstream.forgetFailures()
    loader.load().catch((error: unknown) => {
      options.log.warn({ err: error }, 'upstreams not read again')
    })
  })
  await loader.load()
}

/**
 * Makes the upstreams what the configuration and the database say. One whose definition has not
 * changed stays what it is, with what it has under way.
 */
class UpstreamLoader {
  readonly #upstreams: Upstreams
  readonly #options: UpstreamsOptions
  readonly #known = new Map<string, { readonly text: string; readonly upstream: Upstream }>()
  #loading: Promise<void> = Promise.resolve()

  constructor(upstreams: Upstreams, options: UpstreamsOptions) {
    this.#upstreams = upstreams
    this.#options = options
  }

  /** One after the other, so that the last to be loaded are the last there are. */
  load(): Promise<void> {
    this.#loading = this.#loading.catch(() => {}).then(() => this.#load())
    return this.#loading
  }

  async #load(): Promise<void> {
    const definitions = await this.#definitions()
    const upstreams: Upstream[] = []
    for (const definition of definitions) upstreams.push(await this.#open(definition))
    const names = new Set(definitions.map(({ name }) => name))
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name)
    this.#upstreams.replace(upstreams)
  }

  /** Those of the configuration, and of the database what goes with them. */
  async #definitions(): Promise<UpstreamDefinition[]> {
    const { config, db, log } = this.#options
    const definitions: UpstreamDefinition[] = [...config.upstreams]
    for (const { name, definition } of await listUpstreams(db)) {
      try {
        const added = parseUpstream(name, definition)
        const conflicts = conflictsOf(added, definitions)
        if (conflicts.length === 0) definitions.push(added)
        else log.warn({ upstream: name, conflicts }, 'upstream of the database not used')
      } catch (error) {
        log.warn({ err: error, upstream: name }, 'upstream of the database not usable')
      }
    }
    return definitions
  }

  async #open(definition: UpstreamDefinition): Promise<Upstream> {
    const text = JSON.stringify(definition)
    const known = this.#known.get(definition.name)
    if (known?.text === text) return known.upstream
    const upstream = await openUpstream(definition)
    this.#known.set(definition.name, { text, upstream })
    return upstream
  }
}

export async function openUpstream(definition: UpstreamDefinition): Promise<Upstream> {
  // The HTTP client is large: who has no upstreams does without it.
  const { createUpstream } = await import('../upstream/client.ts')
  return new Upstream(ruleOf(definition), createUpstream(definition))
}

function ruleOf({ allow, deny, ...rest }: UpstreamDefinition): UpstreamRule {
  const allowed = allow.map(compileGlob)
  const denied = deny.map(compileGlob)
  return {
    ...rest,
    allows: (remote) =>
      allowed.some((matches) => matches(remote)) && !denied.some((matches) => matches(remote)),
  }
}
