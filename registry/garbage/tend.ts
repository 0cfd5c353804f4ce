import { pruneLeases } from '../leases.ts'
import type { Registry } from '../registry.ts'
import { collectGarbage } from './collect.ts'
import type { GarbageCounts } from './garbage-counts.ts'
import { sweepGarbage } from './sweep.ts'

export interface TendOptions {
  readonly sweepSeconds: number
  readonly counts: GarbageCounts
  readonly signal: AbortSignal
}

/** What has to be done now and then for what nobody needs any more. In each process. */
export async function tendGarbage(
  registry: Registry,
  { sweepSeconds, counts, signal }: TendOptions,
): Promise<void> {
  await pruneLeases(registry.db)
  await sweepGarbage(registry, { everySeconds: sweepSeconds, signal })
  const freed = await collectGarbage(registry, { signal })
  counts.collected(freed)
  if (freed.manifests + freed.blobs > 0) registry.log.info(freed, 'garbage collected')
}
