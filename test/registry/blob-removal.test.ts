import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { finishRemovals, removeBlobs } from '../../registry/blob-removal.ts'
import { readBlob, statBlob } from '../../registry/blobs.ts'
import { addLease, removeLease } from '../../registry/leases.ts'
import type { Registry } from '../../registry/registry.ts'
import { requireRepository } from '../../registry/repositories.ts'
import { lockBlobsAlone, markUnlinkedBlobs } from '../../storage/metadata/blob-removal.ts'
import { type StoredBlob, unlinkBlob } from '../../storage/metadata/blobs.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { describeWithS3 } from '../support/s3.ts'
import { openS3Store } from '../support/s3-store.ts'
import { storageOf, type TestStorage } from '../support/storage.ts'
import { dyingAt, gate, isWaiting, stoppingAt, withBlobs } from './gate.ts'
import { stateOf } from './pull-through/caches.ts'
import { pushBlob } from './push.ts'

const NOW = { limit: 100, settleMs: 0 }
const repository = parseRepositoryName('removal/here')

describe('the removal of a blob from a folder', () => {
  describeRemoval(() => undefined)
})

describeWithS3('the removal of a blob from S3', () => {
  describeRemoval(() => storageOf(openS3Store()))
})

function describeRemoval(openStorage: () => TestStorage | undefined): void {
  let test: TestRegistry
  let registry: Registry

  beforeAll(async () => {
    const storage = openStorage()
    test = await openTestRegistry(storage === undefined ? {} : { storage })
    registry = test.registry
  })
  afterAll(() => test.close())

  /** Takes the link from the blob, and marks it when that was the last. */
  const unlink = async (digest: Digest, from: RepositoryName = repository) => {
    const id = await requireRepository(registry, from)
    const marked = await transaction(registry.db, async (tx) => {
      await lockBlobsAlone(tx, [digest])
      await unlinkBlob(tx, id, digest)
      return markUnlinkedBlobs(tx, [digest])
    })
    registry.cache.forgetAll()
    return marked
  }

  const pushed = async (content = randomBytes(1000)) => {
    const digest = await pushBlob(registry, repository, content)
    return { content, digest }
  }

  const isStored = async ({ location }: StoredBlob) =>
    (await registry.blobs.size(location)) !== undefined

  const expectReadable = async (digest: Digest, content: Buffer) => {
    registry.cache.forgetAll()
    const blob = await statBlob(registry, repository, digest)
    const read = await buffer(readBlob(registry, blob) as AsyncIterable<Buffer>)
    expect(read.equals(content)).toBe(true)
  }

  it('takes row and bytes when nobody links it any more', async () => {
    const { digest } = await pushed()
    const blob = await statBlob(registry, repository, digest)
    const marked = await unlink(digest)
    expect(marked).toEqual([blob])
    expect(await stateOf(registry, digest)).toBe('deleting')
    expect(await isStored(blob)).toBe(true)
    expect(await removeBlobs(registry, marked)).toHaveLength(1)
    expect(await stateOf(registry, digest)).toBeUndefined()
    expect(await isStored(blob)).toBe(false)
    expect(await removeBlobs(registry, marked)).toHaveLength(0)
  })

  it('does not begin while another repository links it', async () => {
    const { digest, content } = await pushed()
    const other = parseRepositoryName('removal/other')
    await pushBlob(registry, other, content)
    expect(await unlink(digest, other)).toEqual([])
    expect(await stateOf(registry, digest)).toBe('live')
    await expectReadable(digest, content)
  })

  it('does not begin while there is a lease on it', async () => {
    const { digest } = await pushed()
    const lease = { repository, digest, holder: 'h', seconds: 3600, actor: undefined }
    await addLease(registry, lease)
    expect(await unlink(digest)).toEqual([])
    expect(await stateOf(registry, digest)).toBe('live')
    await removeLease(registry, lease)
    const marked = await unlink(digest)
    expect(marked).toHaveLength(1)
    expect(await removeBlobs(registry, marked)).toHaveLength(1)
  })

  it('goes on after a crash before the bytes went', async () => {
    const { digest } = await pushed()
    const marked = await unlink(digest)
    expect(await removeBlobs(dyingAt(registry, 'blob unlinked'), marked)).toHaveLength(0)
    expect(await stateOf(registry, digest)).toBe('deleting')
    expect(await isStored(marked[0]!)).toBe(true)
    expect(await finishRemovals(registry, NOW)).toBe(1)
    expect(await stateOf(registry, digest)).toBeUndefined()
    expect(await isStored(marked[0]!)).toBe(false)
  })

  it('goes on after a crash between bytes and row, and the digest can be pushed in between', async () => {
    const [one, other] = [await pushed(), await pushed()]
    const marked = [...(await unlink(one.digest)), ...(await unlink(other.digest))]
    expect(await removeBlobs(dyingAt(registry, 'blob bytes deleted'), marked)).toHaveLength(0)
    expect(await Promise.all(marked.map(isStored))).toEqual([false, false])
    expect(await stateOf(registry, one.digest)).toBe('deleting')

    await pushBlob(registry, repository, other.content)
    expect(await finishRemovals(registry, NOW)).toBe(1)
    expect(await stateOf(registry, one.digest)).toBeUndefined()
    await expectReadable(other.digest, other.content)
  })

  it('lets a push of the digest go first that came first', async () => {
    const { digest, content } = await pushed()
    const marked = await unlink(digest)
    const barrier = gate()
    const push = pushBlob(stoppingAt(registry, 'blob placed', barrier), repository, content)
    await barrier.reached
    const removal = removeBlobs(registry, marked)
    expect(await isWaiting(removal)).toBe(true) // for the lock of the digest
    barrier.open()
    await push
    expect(await removal).toHaveLength(0)
    await expectReadable(digest, content)
  })

  it('holds a push of the digest up until it is done, where they share a place', async () => {
    const { digest, content } = await pushed()
    const marked = await unlink(digest)
    const barrier = gate()
    const removal = removeBlobs(stoppingAt(registry, 'blob bytes deleted', barrier), marked)
    await barrier.reached
    const push = pushBlob(registry, repository, content)
    // Where it puts its bytes elsewhere, nothing has to be waited for.
    const waits = registry.blobs.reusesLocations
    expect(await isWaiting(push)).toBe(waits)
    barrier.open()
    expect(await removal).toHaveLength(waits ? 1 : 0)
    await push
    await expectReadable(digest, content)
  })

  it('leaves a blob that was pushed since it was marked, and none of the older bytes', async () => {
    const { digest, content } = await pushed()
    const [old] = await unlink(digest)
    const barrier = gate()
    const removal = removeBlobs(stoppingAt(registry, 'blob unlinked', barrier), [old!])
    await barrier.reached
    await pushBlob(registry, repository, content)
    barrier.open()
    expect(await removal).toHaveLength(0)
    await expectReadable(digest, content)
    const { location } = await statBlob(registry, repository, digest)
    expect(location === old!.location || !(await isStored(old!))).toBe(true)
  })

  it('does not begin for a blob that is being pushed to a second repository', async () => {
    const { digest, content } = await pushed()
    const other = parseRepositoryName('removal/second')
    const barrier = gate()
    const push = pushBlob(stoppingAt(registry, 'blob placed', barrier), other, content)
    await barrier.reached
    const unlinking = unlink(digest)
    expect(await isWaiting(unlinking)).toBe(true)
    barrier.open()
    await push
    expect(await unlinking).toEqual([])
    expect(await stateOf(registry, digest)).toBe('live')
  })

  it('leaves a push that found the blob there right before it was marked', async () => {
    const { digest, content } = await pushed()
    let marked: StoredBlob[] = []
    const size = async (location: string) => {
      const found = await registry.blobs.size(location)
      marked = [...marked, ...(await unlink(digest))]
      return found
    }
    await pushBlob(withBlobs(registry, { size }), repository, content)
    expect(marked).toHaveLength(1)
    await removeBlobs(registry, marked)
    await expectReadable(digest, content)
  })

  it('never loses a blob that is pushed all the time', async () => {
    const content = randomBytes(1000)
    for (let round = 0; round < 30; round++) {
      const digest = await pushBlob(registry, repository, content)
      const marked = await unlink(digest)
      await Promise.all([
        removeBlobs(registry, marked),
        finishRemovals(registry, NOW),
        pushBlob(registry, repository, content),
      ])
      await expectReadable(digest, content)
    }
  })

  it('goes on page by page with what one process left, past what cannot be deleted', async () => {
    const blobs = [await pushed(), await pushed(), await pushed()]
    const marked = (await Promise.all(blobs.map(({ digest }) => unlink(digest)))).flat()
    const stuck = marked[1]!
    const failing = withBlobs(registry, {
      delete: async (location) => {
        if (location === stuck.location) throw new Error('stuck')
        return registry.blobs.delete(location)
      },
    })
    expect(await finishRemovals(failing, NOW)).toBe(2)
    expect(await stateOf(registry, stuck.digest)).toBe('deleting')
    expect(await finishRemovals(registry, NOW)).toBe(1)
    expect(await finishRemovals(registry, NOW)).toBe(0)
  })

  it('waits until no process goes by what was marked, unless it is to stop', async () => {
    const { digest } = await pushed()
    await unlink(digest)
    const controller = new AbortController()
    const waiting = finishRemovals(registry, { limit: 1, signal: controller.signal })
    expect(await isWaiting(waiting)).toBe(true)
    controller.abort()
    await expect(waiting).rejects.toThrow(/abort/i)
    expect(await stateOf(registry, digest)).toBe('deleting')
    expect(await finishRemovals(registry, NOW)).toBe(1)
  })
}
