import { Registry as Series } from 'prom-client'
import { expect, it } from 'vitest'
import { registerScrubSeries } from '../../observability/scrub-series.ts'
import { ScrubCounts } from '../../registry/integrity/scrub-counts.ts'

it('the scrub is told by its counts, and without the database by all but one', async () => {
  const series = new Series()
  const counts = new ScrubCounts()
  let isAway = false
  const waiting = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(3))
  registerScrubSeries(series, { totals: () => counts.totals(), waiting })
  counts.verified(1000)
  counts.verified(24)
  counts.quarantined()
  const text = await series.metrics()
  for (const line of ['blobs_total 2', 'bytes_total 1024', 'quarantined_total 1']) {
    expect(text).toContain(`\nslipway_scrub_${line}\n`)
  }
  expect(text).toContain('\nslipway_scrub_quarantined_blobs 3\n')
  isAway = true
  const without = await series.metrics()
  expect(without).toContain('\nslipway_scrub_blobs_total 2\n')
  expect(without).not.toMatch(/^slipway_scrub_quarantined_blobs \d/m)
})
