import { Registry as Series } from 'prom-client'
import { expect, it } from 'vitest'
import { registerGarbageSeries } from '../../observability/garbage-series.ts'
import { GarbageCounts } from '../../registry/garbage/garbage-counts.ts'

it('collecting is told by its counts, and without the database by all but one', async () => {
  const series = new Series()
  const counts = new GarbageCounts()
  let isAway = false
  const overdueSeconds = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(7))
  registerGarbageSeries(series, { totals: () => counts.totals(), overdueSeconds })
  counts.collected({ manifests: 1, blobs: 2, bytes: 1000 })
  counts.collected({ manifests: 2, blobs: 1, bytes: 24 })
  const text = await series.metrics()
  for (const line of ['manifests_total 3', 'blobs_total 3', 'freed_bytes_total 1024']) {
    expect(text).toContain(`\nslipway_gc_${line}\n`)
  }
  expect(text).toContain('\nslipway_gc_overdue_seconds 7\n')
  isAway = true
  const without = await series.metrics()
  expect(without).toContain('\nslipway_gc_blobs_total 3\n')
  expect(without).not.toMatch(/^slipway_gc_overdue_seconds \d/m)
})
