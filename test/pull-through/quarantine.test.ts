import { expect, it, onTestFinished, vi } from 'vitest'
import { parseDigest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import { statBlob } from '../../registry/blobs.ts'
import { scrub } from '../../registry/integrity/scrub.ts'
import { ScrubCounts } from '../../registry/integrity/scrub-counts.ts'
import { sha256 } from '../acceptance/client.ts'
import { NAME, openStage } from './stage.ts'

it('a blob of an upstream that went bad is fetched again by the next pull', async () => {
  const stage = await openStage()
  onTestFinished(stage.close)
  const { layers } = await stage.upstream.push({ repository: 'team/app', layers: [5000] })
  const digest = parseDigest(layers[0]!.digest)
  const url = `${stage.url}/v2/${NAME}/team/app/blobs/${digest}`
  const { registry, storage } = stage.here
  const pull = async () => {
    const response = await fetch(url)
    return { status: response.status, content: Buffer.from(await response.arrayBuffer()) }
  }
  await fetch(`${stage.url}/v2/${NAME}/team/app/manifests/latest`)
  await pull()
  await vi.waitFor(() => expect(registry.pullThrough.fetches.size).toBe(0))
  const { location } = await statBlob(registry, parseRepositoryName(`${NAME}/team/app`), digest)
  await storage.shorten(location, 10)
  await registry.db.query(`update blobs set verified_at = now() - interval '40 days'`)
  const counts = new ScrubCounts()
  const { signal } = new AbortController()
  await scrub(registry, { days: 30, bytesPerSecond: 1e9, counts, signal })
  expect(counts.totals().quarantined).toBe(1)

  const again = await pull()
  expect(again.status).toBe(200)
  expect(sha256(again.content)).toBe(digest)
  await vi.waitFor(() => expect(registry.pullThrough.fetches.size).toBe(0))
  expect(stage.proxy.blobBytes).toBe(10_000)
  const { rows } = await registry.db.query('select state, problem from blobs where digest = $1', [
    digest,
  ])
  expect(rows).toEqual([{ state: 'live', problem: null }])
  expect(sha256((await pull()).content)).toBe(digest)
  expect(stage.proxy.blobBytes).toBe(10_000)
})
