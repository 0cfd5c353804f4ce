import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StorageUnavailable, type Upload, UploadLost } from '../../storage/blob/blob-store.ts'
import { newKey, uploadOf } from '../../storage/blob/s3/upload-state.ts'
import { S3BlobStore } from '../../storage/blob/s3.ts'
import { describeBlobStore } from '../contract/blob-store.ts'
import { append, bytesOf, expectSame, MIB, seal, stored } from '../contract/bytes.ts'
import { until } from '../durability/support/workspace.ts'
import { countOpenRequests } from '../support/open-handles.ts'
import { describeWithS3 } from '../support/s3.ts'
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts'

describeWithS3('an object storage', () => {
  describeBlobStore('S3', async () => {
    const opened = openS3Store()
    const { store, objects, settings } = opened
    const { host } = new URL(settings.endpoint ?? '')
    return {
      store,
      reopen: async () => new S3BlobStore(settings),
      keptBytes: 6 * MIB,
      loseUpload: async (state) => {
        const { key, multipart } = uploadOf(state)
        assert(key !== undefined)
        if (multipart === undefined) await objects.delete(key)
        else await objects.abortMultipart({ key, uploadId: multipart.uploadId })
      },
      openHandles: async () => {
        await until('no answer is being read', () => countOpenRequests(host) === 0)
        return countOpenRequests(host)
      },
      close: async () => {
        const left = await opened.contents()
        const requests = countOpenRequests(host)
        await opened.close()
        assert.deepEqual(left, { objects: [], multiparts: [] })
        assert.equal(requests, 0, 'answers that nobody reads')
      },
    }
  })

  describe('uploads to S3', () => {
    let opened: OpenedS3Store
    let store: S3BlobStore
    beforeEach(() => {
      opened = openS3Store()
      store = opened.store
    })
    afterEach(() => opened.close())

    const start = (): Upload => ({ offset: 0, state: store.startUpload(randomUUID()) })

    it('keep in the session what is less than a part, and nothing in the bucket', async () => {
      const content = randomBytes(4 * MIB)
      const upload = await append(store, start(), [content])
      expect(upload.tail?.length).toBe(content.length)
      expect(await opened.contents()).toEqual({ objects: [], multiparts: [] })
    })

    it('go on in the middle of a multipart upload with any tail', async () => {
      const content = randomBytes(17 * MIB + 3)
      let upload = start()
      for (let at = 0; at < content.length; at += 3 * MIB) {
        const process = new S3BlobStore(opened.settings)
        upload = stored(await append(process, upload, [content.subarray(at, at + 3 * MIB)]))
        expect(upload.tail?.length).toBeLessThan(5 * MIB)
        process.close()
      }
      const { multiparts } = await opened.contents()
      expect(multiparts).toHaveLength(1)
      const sealed = await seal(store, upload)
      expectSame(await bytesOf(store.readUpload(stored(sealed))), content)
      expect(await opened.contents()).toEqual({ objects: multiparts, multiparts: [] })
    })

    it('are in the bucket once, under a key that names their session', async () => {
      const upload = await append(store, start(), [randomBytes(100)], false)
      const { id, key } = uploadOf(upload.state)
      expect(key).toMatch(new RegExp(`^blobs/${id.slice(0, 2)}/${id}-[0-9a-f]{16}$`))
      expect(await opened.contents()).toEqual({ objects: [key], multiparts: [] })
      expect(await store.commitUpload(upload)).toBe(key)
    })

    it('of a process that died are found by a sweep', async () => {
      const begun = start()
      const dead = await store.appendUpload(begun, { expectsMore: false })
      for (let chunks = 0; chunks < 40; chunks++) await dead.write(randomBytes(MIB))
      await append(store, begun, [randomBytes(100)], false) // its process died before it said so
      expect((await opened.contents()).multiparts).toHaveLength(1)
      expect((await opened.contents()).objects).toHaveLength(1)

      const upload = await append(store, begun, [randomBytes(6 * MIB)])
      await store.sweepUpload(upload.state)
      const { key } = uploadOf(upload.state)
      expect(await opened.contents()).toEqual({ objects: [], multiparts: [key] })
      await dead.abandon()
      await store.abortUpload(upload.state)
    })

    it('of a process that only seemed dead never change what another one made', async () => {
      const begun = start()
      const late = await store.appendUpload(begun, { expectsMore: false })
      await late.write(Buffer.from('late'))
      const content = randomBytes(100)
      const upload = await append(store, begun, [content], false)
      const location = await store.commitUpload(upload)
      await late.finish()
      expectSame(await bytesOf(store.read(location)), content)
      await store.sweepUpload(upload.state)
      expectSame(await bytesOf(store.read(location)), content)
    })

    it('into which such a process puts another part are lost, not damaged', async () => {
      const upload = await append(store, start(), [randomBytes(6 * MIB)])
      const late = await store.appendUpload(stored(upload), { expectsMore: true })
      const next = await append(store, upload, [randomBytes(6 * MIB)])
      await late.write(randomBytes(12 * MIB))
      await late.finish()
      await expect(seal(store, next)).rejects.toThrow(UploadLost)
      await store.abortUpload(next.state)
    })

    it('are listed page by page, and other keys are not', async () => {
      const { objects } = opened
      const keys = Array.from({ length: 5 }, () => newKey(randomUUID())).toSorted()
      for (const key of keys) await objects.put(key, Buffer.from('x'))
      await objects.put('blobs/ab/somebody-elses', Buffer.from('x'))
      await objects.put('other/key', Buffer.from('x'))
      const begun = await Promise.all(keys.map((key) => objects.startMultipart(key)))

      const paged = { objects: [] as string[], multiparts: [] as string[] }
      for await (const { key } of objects.everyObject('blobs/', 2)) paged.objects.push(key)
      for await (const { uploadId } of objects.everyMultipart('blobs/', 2)) {
        paged.multiparts.push(uploadId)
      }
      expect(paged.objects).toEqual([...keys, 'blobs/ab/somebody-elses'].toSorted())
      expect(paged.multiparts.toSorted()).toEqual(begun.map(({ uploadId }) => uploadId).toSorted())

      const items = { blob: [] as string[], upload: [] as string[] }
      for await (const item of store.list()) {
        items[item.kind].push(item.kind === 'blob' ? item.location : item.session)
      }
      expect(items.blob.toSorted()).toEqual(keys)
      expect(items.upload.toSorted()).toEqual(keys.map((key) => key.slice(9, 45)).toSorted())
    })

    it('are told apart by words when they cannot be kept', async () => {
      const wrong = [
        [{ credentials: { accessKeyId: 'nobody', secretAccessKey: 'x' } }, /access key|secret key/],
        [{ credentials: { ...opened.settings.credentials!, secretAccessKey: 'x' } }, /secret key/],
        [{ bucket: `none-${randomUUID()}` }, /bucket does not exist/],
        [{ endpoint: 'http://127.0.0.1:9', attempts: 1 }, /cannot be reached/],
      ] as const
      for (const [change, words] of wrong) {
        const other = new S3BlobStore({ ...opened.settings, ...change })
        await expect(other.probe()).rejects.toThrow(words)
        await expect(other.probe()).rejects.toThrow(StorageUnavailable)
        other.close()
      }
    })
  })

  describe('a URL for clients', () => {
    it('brings the blob and its ranges, and is the same for a while', async () => {
      const opened = openS3Store({ redirect: { endpoint: undefined, seconds: 60 } })
      const { store } = opened
      const upload = { offset: 0, state: store.startUpload(randomUUID()) }
      const location = await store.commitUpload(
        await append(store, upload, [Buffer.from('0123456789')], false),
      )
      const url = await store.presign!(location, 'application/octet-stream')
      expect(await store.presign!(location, 'application/octet-stream')).toBe(url)
      const whole = await fetch(url!)
      expect(whole.status).toBe(200)
      expect(await whole.text()).toBe('0123456789')
      const range = await fetch(url!, { headers: { Range: 'bytes=2-4' } })
      expect(range.status).toBe(206)
      expect(await range.text()).toBe('234')
      await opened.close()
    })

    it('is there only when it is asked for', () => {
      expect(openS3Store().store.presign).toBeUndefined()
    })
  })
})
