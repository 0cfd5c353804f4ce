import { pruneFetches } from '../../storage/metadata/fetches.ts'
import { finishRemovals } from '../blob-removal.ts'
import type { Registry } from '../registry.ts'
import { evict } from './eviction.ts'

const REMOVALS = 1000

/** What has to be done now and then for what is kept of upstreams: notes written, room made. */
export async function tendUpstreams(registry: Registry, signal: AbortSignal): Promise<void> {
  const { db, log, pullThrough } = registry
  await recordActivity(registry)
  for (const { rule } of pullThrough.upstreams.all) {
    const { name: upstream, maxBytes, staleSeconds: idleSeconds } = rule
    signal.throwIfAborted()
    const { blobs, bytes } = await evict(registry, { upstream, maxBytes, idleSeconds })
    if (blobs > 0) log.info({ upstream, blobs, bytes }, 'blobs evicted')
    pullThrough.activity.evicted(upstream, bytes)
  }
  await finishRemovals(registry, { limit: REMOVALS, signal })
  await pruneFetches(db)
  await pullThrough.fetches.spool.sweep()
}

/** Writes down what was asked for, hosted or not, and how the upstreams are doing. */
export async function recordActivity({
  db,
  pullThrough,
  uses,
}: Pick<Registry, 'db' | 'pullThrough' | 'uses'>): Promise<void> {
  const { upstreams, activity } = pullThrough
  for (const upstream of upstreams.all) activity.fetched(upstream.rule.name, upstream.takeFetched())
  await uses.flush(db)
  const conditions = upstreams.all.map(
    ({ rule, client }) => [rule.name, client.condition()] as const,
  )
  await activity.flush(db, new Map(conditions))
}
