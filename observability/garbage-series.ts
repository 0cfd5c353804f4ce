import type { Registry as Series } from 'prom-client'
import { registerAsked, registerTotal } from './asked-series.ts'

/** What this process collected, and whether collecting keeps up. */
export interface GarbageSource {
  readonly totals: () => {
    readonly manifests: number
    readonly blobs: number
    readonly bytes: number
  }
  /** Of what is due longest, whichever process comes to it; 0: nothing is due. */
  readonly overdueSeconds: () => Promise<number>
}

const MANIFESTS = { name: 'gc_manifests_total', help: 'manifests that were collected' }
const BLOBS = { name: 'gc_blobs_total', help: 'blobs that were collected' }
const BYTES = { name: 'gc_freed_bytes_total', help: 'bytes of these blobs' }
const OVERDUE = {
  name: 'gc_overdue_seconds',
  help: 'how long the oldest garbage that is due has waited',
}

export function registerGarbageSeries(
  series: Series,
  { totals, overdueSeconds }: GarbageSource,
): void {
  registerTotal(series, MANIFESTS, () => totals().manifests)
  registerTotal(series, BLOBS, () => totals().blobs)
  registerTotal(series, BYTES, () => totals().bytes)
  registerAsked(series, OVERDUE, overdueSeconds)
}
