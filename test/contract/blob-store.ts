import { randomBytes, randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../oci/digest.ts'
import {
  BlobMissing,
  type BlobStore,
  type Location,
  type Upload,
  UploadLost,
  type UploadState,
} from '../../storage/blob/blob-store.ts'

import { describeAppends } from './appends.ts'
import {
  append,
  bytesOf,
  CHUNK,
  expectSame,
  KIB,
  lengthOf,
  MIB,
  rangesOf,
  seal,
  stored,
} from './bytes.ts'
import { describeLists } from './lists.ts'

export interface OpenedBlobStore {
  readonly store: BlobStore
  /** The same contents, as another process or the next start sees them. */
  reopen(): Promise<BlobStore>
  /** Takes away every byte an upload received, behind the store's back. */
  loseUpload(state: UploadState): Promise<void>
  /** An upload of so many bytes is kept by the store, not by the session alone. */
  readonly keptBytes: number
  /** Files, sockets and the like that reads of this store hold right now. */
  openHandles(): Promise<number>
  /** Asserts that no blob and no upload is left behind, and removes the store. */
  close(): Promise<void>
}

/** What every driver must do; the normative text of `BlobStore`. */
export function describeBlobStore(name: string, open: () => Promise<OpenedBlobStore>): void {
  describe(`${name} as a blob store`, () => {
    let opened: OpenedBlobStore
    let store: BlobStore
    const made = { states: [] as UploadState[], locations: new Set<Location>() }

    beforeEach(async () => {
      opened = await open()
      store = opened.store
    })

    afterEach(async () => {
      for (const state of made.states.splice(0)) {
        await store.sweepUpload(state)
        await store.abortUpload(state)
      }
      for (const location of made.locations) await store.delete(location)
      made.locations.clear()
      await opened.close()
    })

    function start(): Upload {
      const state = store.startUpload(randomUUID())
      made.states.push(state)
      return { offset: 0, state }
    }

    async function commit(upload: Upload, digest: Digest, by = store): Promise<Location> {
      const sealed = await seal(by, upload)
      const location = await by.commitUpload(stored(sealed), digest)
      made.locations.add(location)
      return location
    }

    async function publish(content: Buffer): Promise<Location> {
      return commit(await append(store, start(), [content]), digestOf(content))
    }

    async function received(upload: Upload, by = store): Promise<Buffer> {
      return bytesOf(by.readUpload(stored(await seal(by, upload))))
    }

    describeAppends({ opened: () => opened, start, commit, received })
    describeLists({ opened: () => opened, start, commit, received })

    describe('an upload', () => {
      it('costs nothing until it gets a byte', () => {
        const { state } = start()
        made.states.pop()
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
      })

      it('is read and committed without the bytes beyond its offset', async () => {
        const content = randomBytes(opened.keptBytes)
        const recorded = await append(store, start(), [content])
        await append(store, recorded, [Buffer.from('never recorded')])
        expectSame(await received(recorded), content)
        const location = await commit(recorded, digestOf(content))
        expect(await store.size(location)).toBe(content.length)
        expectSame(await bytesOf(store.read(location)), content)
      })

      it('is sealed again by a process that does not know that it was', async () => {
        const content = randomBytes(opened.keptBytes)
        const upload = await append(store, start(), [content])
        await seal(store, upload)
        expectSame(await received(upload, await opened.reopen()), content)
      })

      it('that is sealed can grow', async () => {
        const content = randomBytes(opened.keptBytes + 1)
        const upload = await append(store, start(), [content.subarray(0, -1)])
        const longer = await append(store, await seal(store, upload), [content.subarray(-1)])
        expect(longer.offset).toBe(content.length)
        expectSame(await received(longer), content)
      })

      it('is lost when its bytes are gone', async () => {
        const upload = await append(store, start(), [randomBytes(opened.keptBytes)])
        await opened.loseUpload(upload.state)
        const goOn = async () => seal(store, await append(store, upload, [Buffer.from('more')]))
        await expect(goOn()).rejects.toThrow(UploadLost)
      })

      it('is lost to a commit when its bytes are gone', async () => {
        const content = randomBytes(opened.keptBytes)
        const upload = await append(store, start(), [content])
        await opened.loseUpload(upload.state)
        await expect(commit(upload, digestOf(content))).rejects.toThrow(UploadLost)
      })

      it('is lost to a reader when its bytes are gone', async () => {
        const upload = await append(store, start(), [randomBytes(100)], false)
        await opened.loseUpload(upload.state)
        await expect(bytesOf(store.readUpload(stored(upload)))).rejects.toThrow(UploadLost)
      })

      it.each([true, false])('can be aborted twice, and before it got a byte', async (more) => {
        const { state } = start()
        await store.abortUpload(state)
        const upload = await append(store, start(), [randomBytes(opened.keptBytes)], more)
        await store.abortUpload(upload.state)
        await store.abortUpload(upload.state)
        await expect(received(upload)).rejects.toThrow(UploadLost)
      })

      it('is swept of what dead processes left, and of nothing else', async () => {
        const content = randomBytes(opened.keptBytes)
        const begun = start()
        for (const more of [true, false]) {
          await append(store, begun, [randomBytes(opened.keptBytes)], more) // never recorded
        }
        const upload = await append(store, begun, [content.subarray(0, -9)])
        await append(store, upload, [randomBytes(100)]) // never recorded either
        await store.sweepUpload(upload.state)
        const whole = await append(store, upload, [content.subarray(-9)])
        expectSame(await bytesOf(store.read(await commit(whole, digestOf(content)))), content)
      })
    })

    describe('a commit', () => {
      it.each(['sha256', 'sha512'] as const)('publishes under a %s digest', async (algorithm) => {
        const content = randomBytes(1000)
        const upload = await append(store, start(), [content])
        const location = await commit(upload, digestOf(content, algorithm))
        expect(await store.size(location)).toBe(1000)
        expectSame(await bytesOf(store.read(location)), content)
      })

      it('publishes an empty blob', async () => {
        const location = await commit(start(), digestOf(Buffer.alloc(0)))
        expect(await store.size(location)).toBe(0)
        expect(await lengthOf(store.read(location))).toBe(0)
      })

      it('can be repeated after it was cut off, on any process', async () => {
        const content = randomBytes(2000)
        const upload = await append(store, start(), [content])
        await commit(upload, digestOf(content))
        const location = await commit(upload, digestOf(content), await opened.reopen())
        expectSame(await bytesOf(store.read(location)), content)
      })

      it('can be repeated for an empty blob', async () => {
        const upload = start()
        await commit(upload, digestOf(Buffer.alloc(0)))
        const location = await commit(upload, digestOf(Buffer.alloc(0)))
        expect(await store.size(location)).toBe(0)
      })

      it('outlives a sweep of its upload', async () => {
        const content = randomBytes(64)
        const upload = await append(store, start(), [content], false)
        const location = await commit(upload, digestOf(content))
        await store.sweepUpload(upload.state)
        expectSame(await bytesOf(store.read(location)), content)
      })

      it('of a digest that is there already is harmless', async () => {
        const content = randomBytes(CHUNK + 1)
        const first = await publish(content)
        const second = await publish(content)
        expectSame(await bytesOf(store.read(first)), content)
        expectSame(await bytesOf(store.read(second)), content)
      })

      it('of one digest a hundred times in parallel leaves a whole blob', async () => {
        const content = randomBytes(10 * KIB)
        const uploads = await Promise.all(
          Array.from({ length: 100 }, () => append(store, start(), [content])),
        )
        const locations = await Promise.all(
          uploads.map((upload) => commit(upload, digestOf(content))),
        )
        for (const location of new Set(locations)) {
          expectSame(await bytesOf(store.read(location)), content)
        }
      })

      it('never cuts a read of the same digest short', async () => {
        const content = randomBytes(3 * MIB + 1)
        const location = await publish(content)
        const commitsEnded = new AbortController()
        const commits = (async () => {
          for (let count = 0; count < 10; count++) await publish(content)
          commitsEnded.abort()
        })()
        let reads = 0
        while (!commitsEnded.signal.aborted) {
          expectSame(await bytesOf(store.read(location)), content)
          reads++
          await turn()
        }
        await commits
        expect(reads).toBeGreaterThan(0)
      })
    })

    describe('a read', () => {
      it.each([1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])(
        'brings all of %i bytes, and each range that touches a chunk border',
        async (size) => {
          const content = randomBytes(size)
          const location = await publish(content)
          expect(await store.size(location)).toBe(size)
          expectSame(await bytesOf(store.read(location)), content)
          for (const range of rangesOf(size)) {
            expectSame(
              await bytesOf(store.read(location, range)),
              content.subarray(range.first, range.last + 1),
            )
          }
        },
      )

      it('frees what it holds when it is left early', async () => {
        const location = await publish(randomBytes(4 * CHUNK))
        for (let count = 0; count < 20; count++) {
          for await (const chunk of store.read(location)) {
            expect(chunk.length).toBeGreaterThan(0)
            break
          }
        }
        expect(await opened.openHandles()).toBe(0)
      })

      it('holds nothing after its end, nor when nobody began it', async () => {
        const location = await publish(randomBytes(CHUNK + 1))
        store.read(location)
        await lengthOf(store.read(location))
        expect(await opened.openHandles()).toBe(0)
      })

      it('says that there is no blob, at the first chunk', async () => {
        const location = await publish(randomBytes(10))
        await store.delete(location)
        const chunks = store.read(location)
        const iterator = chunks[Symbol.asyncIterator]()
        await expect(iterator.next()).rejects.toThrow(BlobMissing)
        await expect(bytesOf(store.read(location, { first: 1, last: 2 }))).rejects.toThrow(
          BlobMissing,
        )
      })
    })

    it('deletes a blob, and what is deleted already', async () => {
      const location = await publish(randomBytes(10))
      await store.delete(location)
      await store.delete(location)
      expect(await store.size(location)).toBeUndefined()
    })

    it('takes a digest again after it was deleted', async () => {
      const content = randomBytes(10)
      await store.delete(await publish(content))
      expectSame(await bytesOf(store.read(await publish(content))), content)
    })

    it('is probed without leaving anything', async () => {
      await expect(store.probe()).resolves.toBeUndefined()
    })
  })
}
