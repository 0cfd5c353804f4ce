import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { BlobMissing, type StoredItem } from '../../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../../storage/blob/filesystem.ts'
import { InstrumentedBlobStore } from '../../storage/blob/instrumented.ts'

async function openObserved() {
  const root = await mkdtemp(path.join(tmpdir(), 'slipway-blobs-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  const files = new FilesystemBlobStore(root)
  await files.open()
  const calls: string[] = []
  const store = new InstrumentedBlobStore(files, (operation, result, seconds) => {
    expect(seconds).toBeGreaterThanOrEqual(0)
    calls.push(`${operation} ${result}`)
  })
  return { store, calls }
}

it('an instrumented store reports each call once, and passes everything on', async () => {
  const { store, calls } = await openObserved()
  const content = Buffer.alloc(1_500_000, 7)
  const writer = await store.appendUpload(
    { offset: 0, state: store.startUpload('one') },
    { expectsMore: false },
  )
  await writer.write(content)
  const upload = await store.sealUpload(await writer.finish())
  const location = await store.commitUpload(upload, digestOf(content))
  let length = 0
  for await (const chunk of store.read(location)) length += chunk.length
  expect(length).toBe(content.length)
  expect(await store.size(location)).toBe(content.length)
  const items: StoredItem[] = []
  for await (const item of store.list()) items.push(item)
  expect(items).toMatchObject([{ kind: 'blob', location }])
  await store.delete(location)
  await store.abortUpload(upload.state)
  await store.sweepUpload(upload.state)
  const received = { kind: 'upload', session: 'one', sizeBytes: 0, modifiedAt: new Date() } as const
  await store.removeReceived({ ...received, state: upload.state })
  await store.probe()

  expect(calls).toEqual([
    'append ok',
    'seal ok',
    'commit ok',
    'read ok',
    'size ok',
    'list ok',
    'delete ok',
    'abort ok',
    'sweep ok',
    'remove ok',
    'probe ok',
  ])
})

it('an instrumented store reports a read that fails', async () => {
  const { store, calls } = await openObserved()
  const chunks = store.read('docker/registry/v2/blobs/sha256/00/00/data')
  await expect(chunks[Symbol.asyncIterator]().next()).rejects.toThrow(BlobMissing)
  expect(calls).toEqual(['read failed'])
})
