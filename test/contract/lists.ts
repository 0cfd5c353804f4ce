import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import {
  type BlobStore,
  type Location,
  type StoredItem,
  UploadLost,
} from '../../storage/blob/blob-store.ts'
import type { Suite } from './appends.ts'
import { append, bytesOf, expectSame } from './bytes.ts'

async function listed(store: BlobStore): Promise<StoredItem[]> {
  const items: StoredItem[] = []
  for await (const item of store.list()) items.push(item)
  return items
}

/** What a store says of everything that it has. */
export function describeLists({ opened, start, commit, received }: Suite): void {
  const publish = async (content: Buffer) =>
    commit(await append(opened().store, start(), [content]), digestOf(content))

  describe('a list', () => {
    it('of an empty store is empty, also where an upload has begun', async () => {
      start()
      expect(await listed(opened().store)).toEqual([])
    })

    it('has each blob once, with its size, its age, and by what it is looked up', async () => {
      const before = Date.now()
      const contents = [0, 1, 5000].map((size) => randomBytes(size))
      const locations: Location[] = []
      for (const content of contents) locations.push(await publish(content))
      const items = await listed(await opened().reopen())
      expect(items).toHaveLength(contents.length)
      for (const [index, content] of contents.entries()) {
        const item = items.find((each) => 'location' in each && each.location === locations[index])
        assert(item?.kind === 'blob')
        expect(item.sizeBytes).toBe(content.length)
        // Some storages tell whole seconds, by a clock of their own.
        expect(Math.abs(item.modifiedAt.getTime() - before)).toBeLessThan(60_000)
        expect([digestOf(content), undefined]).toContain(item.digest)
        expect(item.digest ?? item.session).toMatch(/^(?:sha256:[0-9a-f]{64}|[0-9a-f-]{36})$/)
        expect(item.isForeign).toBeUndefined()
      }
    })

    it('has the bytes of an upload with its session, which can be removed alone', async () => {
      const kept = await publish(randomBytes(10))
      const upload = await append(opened().store, start(), [randomBytes(opened().keptBytes)])
      const found = (await listed(opened().store)).find(({ kind }) => kind === 'upload')
      assert(found?.kind === 'upload')
      expect(Object.values(upload.state)).toContain(found.session)
      await opened().store.removeReceived(found)
      await opened().store.removeReceived(found)
      const left = await listed(opened().store)
      expect(left.map((each) => 'location' in each && each.location)).toEqual([kept])
      await expect(received(upload)).rejects.toThrow(UploadLost)
    })

    it('of which bytes of an upload are removed leaves the blob it became', async () => {
      const content = randomBytes(opened().keptBytes)
      const upload = await append(opened().store, start(), [content])
      const found = (await listed(opened().store)).find(({ kind }) => kind === 'upload')
      assert(found?.kind === 'upload')
      const location = await commit(upload, digestOf(content))
      await opened().store.removeReceived(found)
      expectSame(await bytesOf(opened().store.read(location)), content)
    })

    it('goes on when what it is about to find is deleted', async () => {
      const locations = new Set<Location>()
      for (let count = 0; count < 5; count++) locations.add(await publish(randomBytes(10 + count)))
      for await (const item of opened().store.list()) {
        assert(item.kind === 'blob')
        locations.delete(item.location)
        for (const location of locations) await opened().store.delete(location)
      }
      expect((await listed(opened().store)).length).toBeLessThan(5)
    })
  })
}
