import { statSync } from 'node:fs'
import path from 'node:path'
import type { Config } from '../config/config.ts'
import { checkUpstream, completeUpstream, InvalidUpstream } from '../config/upstream-schema.ts'
import { conflictsOf, showUpstream, type UpstreamDefinition } from '../config/upstream-settings.ts'
import { insertAuditEvents } from '../storage/metadata/audit.ts'
import type { Announce } from '../storage/metadata/changes.ts'
import { type Transaction, transaction } from '../storage/metadata/database.ts'
import { listUpstreams, lockUpstreams, type StoredUpstream } from '../storage/metadata/upstreams.ts'
import { withAccess } from './access.ts'
import { configurationOf } from './configuration.ts'
import type { CommandOptions } from './usage.ts'

/** An upstream as far as it is known without its password. */
export type OutlinedUpstream = Pick<
  UpstreamDefinition,
  'name' | 'url' | 'hosts' | 'prefix' | 'plain' | 'shown'
>

export interface KnownUpstream {
  readonly name: string
  readonly origin: 'configuration' | 'database'
  /** Undefined for one of the configuration. */
  readonly createdAt: Date | undefined
  /** Undefined when what is stored cannot be understood. */
  readonly upstream: OutlinedUpstream | undefined
  /** Why servers do not use it; empty when they do. */
  readonly problems: readonly string[]
}

/** Those of the configuration, and then those of the database, if there is one. */
export async function knownUpstreams(options: CommandOptions): Promise<readonly KnownUpstream[]> {
  const config = configurationOf(options)
  const stored = hasDatabase(config)
    ? await withAccess(options, ({ control }) => listUpstreams(control.db))
    : []
  const ofConfiguration = config.upstreams.map((upstream) => ({
    name: upstream.name,
    origin: 'configuration' as const,
    createdAt: undefined,
    upstream,
    problems: [],
  }))
  return [...ofConfiguration, ...stored.map((each) => outline(each, config.upstreams))]
}

/** Before its first start a server has none, and may have upstreams in its configuration. */
function hasDatabase(config: Config): boolean {
  if (config['database.url'] !== undefined) return true
  try {
    statSync(path.join(path.resolve(config.data), 'postgres', 'cluster'))
    return true
  } catch (error) {
    // Of a folder that this user may not look into, joining tells what to do.
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT')
  }
}

/** What is known of a stored one beside those of the configuration, which go before it. */
export function outline(
  { name, definition, createdAt }: StoredUpstream,
  ofConfiguration: readonly UpstreamDefinition[],
): KnownUpstream {
  const known = { name, origin: 'database', createdAt } as const
  try {
    const complete = completeUpstream(name, checkUpstream(name, definition))
    const upstream = { ...complete, shown: showUpstream(complete) }
    return { ...known, upstream, problems: conflictsOf(complete, ofConfiguration) }
  } catch (error) {
    if (!(error instanceof InvalidUpstream)) throw error
    return { ...known, upstream: undefined, problems: error.problems }
  }
}

export function noUpstream(name: string): Error {
  return new Error(`there is no upstream ${name}; slipway upstream list lists them`)
}

export interface UpstreamChange {
  readonly action: 'upstream.add' | 'upstream.change' | 'upstream.remove'
  readonly name: string
  /** Whether an embedded database is made where there is none. */
  readonly creates?: boolean
}

/**
 * Runs `change` in a transaction, beside no other one, and lets the servers on the database hear
 * of it. The audit trail has it when it happened, and only then.
 */
export function changingUpstreams<T>(
  options: CommandOptions,
  { action, name, creates = false }: UpstreamChange,
  change: (tx: Transaction, stored: readonly StoredUpstream[]) => Promise<T>,
): Promise<T> {
  return withAccess({ ...options, creates }, ({ control, actor }) => {
    const work = (announce?: Announce) =>
      transaction(control.db, async (tx) => {
        await lockUpstreams(tx)
        const result = await change(tx, await listUpstreams(tx))
        await insertAuditEvents(tx, [
          { actor: actor.subject, action, target: name, result: 'done' },
        ])
        await announce?.(tx, { kind: 'upstreams changed' })
        return result
      })
    return control.changes === undefined ? work() : control.changes.announcing(work)
  })
}
