import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../oci/digest.ts'
import type { Location, Upload } from '../../storage/blob/blob-store.ts'
import type { OpenedBlobStore } from './blob-store.ts'
import { append, bytesOf, CHUNK, expectSame, KIB, lengthOf, MIB, seal, stored } from './bytes.ts'

/** What the suite has for its tests, in each of them. */
export interface Suite {
  readonly opened: () => OpenedBlobStore
  /** A new upload, removed after the test. */
  readonly start: () => Upload
  readonly commit: (upload: Upload, digest: Digest) => Promise<Location>
  /** All bytes of the upload. */
  readonly received: (upload: Upload) => Promise<Buffer>
}

/** What every driver must do with the bytes of one request, whatever is to follow. */
export function describeAppends({ opened, start, commit, received }: Suite): void {
  const store = () => opened().store

  describe.each([
    { client: 'one that expects more', expectsMore: true },
    { client: 'one that may be the last', expectsMore: false },
  ])('an append, $client', ({ expectsMore }) => {
    it('goes on where others ended, on any process', async () => {
      const content = randomBytes(3 * CHUNK + 7)
      let upload = await append(store(), start(), [content.subarray(0, 10)], expectsMore)
      expect(upload.offset).toBe(10)
      const elsewhere = await opened().reopen()
      upload = await append(elsewhere, upload, [content.subarray(10, CHUNK)], expectsMore)
      upload = await append(store(), upload, [content.subarray(CHUNK)], expectsMore)

      expect(upload.offset).toBe(content.length)
      expectSame(await received(upload), content)
      expectSame(await bytesOf(store().read(await commit(upload, digestOf(content)))), content)
    })

    it('takes many small chunks in order', async () => {
      const chunks = Array.from({ length: 3000 }, (_, index) => Buffer.from(`${index},`))
      const content = Buffer.concat(chunks)
      const upload = await append(store(), start(), chunks, expectsMore)
      expectSame(await received(upload), content)
    })

    it('asks for a pause when the store is behind, and loses nothing by it', async () => {
      const chunk = randomBytes(64 * KIB)
      const upload = start()
      const writer = await store().appendUpload(upload, { expectsMore })
      let chunks = 0
      let behind: Promise<void> | undefined
      while (behind === undefined && chunks < 1024) {
        behind = writer.write(chunk)
        chunks++
      }
      expect(behind, 'no pause asked for within 64 MiB').toBeInstanceOf(Promise)
      await behind
      await writer.write(chunk)
      const longer = await writer.finish()
      expect(longer.offset).toBe((chunks + 1) * chunk.length)
      const sealed = await seal(store(), longer)
      expect(await lengthOf(store().readUpload(stored(sealed)))).toBe(longer.offset)
    })

    it('that is discarded leaves the upload what it was', async () => {
      const kept = randomBytes(700)
      const upload = await append(store(), start(), [kept], expectsMore)
      const writer = await store().appendUpload(stored(upload), { expectsMore })
      await writer.write(randomBytes(2 * MIB))
      expect(await writer.discard()).toBe(true)
      expect(await writer.discard()).toBe(true)

      const more = Buffer.from('sent again')
      const longer = await append(store(), upload, [more], expectsMore)
      const content = Buffer.concat([kept, more])
      expect(longer.offset).toBe(content.length)
      expectSame(await bytesOf(store().read(await commit(longer, digestOf(content)))), content)
    })

    it('that is discarded when much is stored already can be sent again', async () => {
      const kept = randomBytes(opened().keptBytes)
      const upload = await append(store(), start(), [kept], expectsMore)
      const writer = await store().appendUpload(stored(upload), { expectsMore })
      const rest = Array.from({ length: 40 }, () => randomBytes(MIB))
      for (const chunk of rest) await writer.write(chunk)
      expect(await writer.discard()).toBe(true)
      const whole = await append(store(), upload, [...rest, Buffer.from('end')], expectsMore)
      expectSame(await received(whole), Buffer.concat([kept, ...rest, Buffer.from('end')]))
    })

    it('can be discarded before its first byte is stored', async () => {
      const upload = start()
      const writer = await store().appendUpload(upload, { expectsMore })
      writer.write(randomBytes(10))?.catch(() => {})
      await writer.discard()
      const content = randomBytes(5)
      expectSame(await received(await append(store(), upload, [content], expectsMore)), content)
    })

    it('drops bytes beyond the offset of the upload', async () => {
      const recorded = await append(store(), start(), [Buffer.from('abc')], expectsMore)
      await append(store(), recorded, [Buffer.from('never recorded')], expectsMore)
      const content = Buffer.from('abcxy')
      const elsewhere = await opened().reopen()
      const upload = await append(elsewhere, recorded, [Buffer.from('xy')], expectsMore)
      expect(upload.offset).toBe(5)
      expectSame(await bytesOf(store().read(await commit(upload, digestOf(content)))), content)
    })
  })
}
