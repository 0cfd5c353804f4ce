import type { Registry as Series } from 'prom-client'
import { registerAsked, registerTotal } from './asked-series.ts'

/** What the scrub did in this process, and what it left to be done. */
export interface ScrubSource {
  readonly totals: () => {
    readonly blobs: number
    readonly bytes: number
    readonly quarantined: number
  }
  /** Blobs that are quarantined now, whichever process found them. */
  readonly waiting: () => Promise<number>
}

const BLOBS = { name: 'scrub_blobs_total', help: 'blobs read and found to be whole' }
const BYTES = { name: 'scrub_bytes_total', help: 'bytes of these blobs' }
const QUARANTINED = {
  name: 'scrub_quarantined_total',
  help: 'blobs found to be damaged or missing',
}
const WAITING = {
  name: 'scrub_quarantined_blobs',
  help: 'blobs whose bytes have to be brought again',
}

export function registerScrubSeries(series: Series, { totals, waiting }: ScrubSource): void {
  registerTotal(series, BLOBS, () => totals().blobs)
  registerTotal(series, BYTES, () => totals().bytes)
  registerTotal(series, QUARANTINED, () => totals().quarantined)
  registerAsked(series, WAITING, waiting)
}
