import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { readBlob, statBlob } from '../../../registry/blobs.ts'
import { scrub } from '../../../registry/integrity/scrub.ts'
import { ScrubCounts } from '../../../registry/integrity/scrub-counts.ts'
import type { Registry } from '../../../registry/registry.ts'
import { UploadLocks } from '../../../registry/upload-locks.ts'
import { StorageUnavailable } from '../../../storage/blob/blob-store.ts'
import { bytesOf } from '../../contract/bytes.ts'
import { gate, isWaiting, withBlobs } from '../gate.ts'
import { imageOf, pushBlob, pushManifest } from '../push.ts'
import { type DamagedRegistry, describeOnEachDriver, flipped, rowOf } from './stores.ts'

const repository = parseRepositoryName('scrub/here')
const NEVER = new AbortController().signal

/** Lets all blobs be due. */
async function age({ db }: Registry): Promise<void> {
  await db.query(`update blobs set verified_at = now() - interval '40 days'`)
}

/** As if the time of the next blob had come. */
async function skipPause({ db }: Registry): Promise<void> {
  await db.query(`update periodic_work set state = state - 'nextAtMs' where name = 'scrub'`)
}

/** One run; a small registry has one blob's time in it. */
async function run(registry: Registry, counts = new ScrubCounts(), signal = NEVER) {
  await skipPause(registry)
  await scrub(registry, { days: 30, bytesPerSecond: 1e9, counts, signal })
  return counts.totals()
}

/** Until `count` blobs have been looked at. */
async function runs(registry: Registry, count: number) {
  const counts = new ScrubCounts()
  for (let done = 0; done < count; done++) await run(registry, counts)
  return counts.totals()
}

/** The registry, with a list of what is read. */
function watched(registry: Registry) {
  const reads: string[] = []
  const { blobs } = registry
  const read: typeof blobs.read = (location, range, signal) => {
    reads.push(location)
    return blobs.read(location, range, signal)
  }
  return { reads, registry: withBlobs(registry, { read }) }
}

async function pushed({ registry }: DamagedRegistry, content = randomBytes(100_000)) {
  const digest = await pushBlob(registry, repository, content)
  const { location } = await statBlob(registry, repository, digest)
  return { content, digest, location }
}

describeOnEachDriver('a scrub', (open) => {
  it('reads what is due once, and nothing that is not', async () => {
    const test = await open()
    const old = [await pushed(test), await pushed(test)]
    await age(test.registry)
    await pushed(test)
    const { reads, registry } = watched(test.registry)
    expect(await runs(registry, 4)).toEqual({ blobs: 2, bytes: 200_000, quarantined: 0 })
    expect(reads.toSorted()).toEqual(old.map(({ location }) => location).toSorted())
    for (const { digest } of old) {
      expect(await rowOf(test, digest)).toMatchObject({ state: 'live', isFresh: true })
    }
  })

  it('reads nothing when it is off', async () => {
    const test = await open()
    await pushed(test)
    await age(test.registry)
    const { reads, registry } = watched(test.registry)
    const counts = new ScrubCounts()
    await scrub(registry, { days: 0, bytesPerSecond: 1e9, counts, signal: NEVER })
    expect(reads).toEqual([])
  })

  it('takes its time: the next blob of a small registry is for another day', async () => {
    const test = await open()
    await pushed(test)
    await pushed(test)
    await age(test.registry)
    const { reads, registry } = watched(test.registry)
    await run(registry)
    await scrub(registry, {
      days: 30,
      bytesPerSecond: 1e9,
      counts: new ScrubCounts(),
      signal: NEVER,
    })
    expect(reads).toHaveLength(1)
  })

  const damages = {
    'a flipped bit': (test, { location, content }) => test.overwrite(location, flipped(content)),
    'a lost end': (test, { location }) => test.storage.shorten(location, 99_999),
    'bytes too many': (test, { location, content }) =>
      test.overwrite(location, Buffer.concat([content, content])),
    'no bytes at all': (test, { location }) => test.storage.lose(location),
  } satisfies Record<
    string,
    (test: DamagedRegistry, blob: Awaited<ReturnType<typeof pushed>>) => Promise<void>
  >
  it.each(Object.entries(damages))(
    'hides a blob with %s until a push heals it',
    async (_, damage) => {
      const test = await open()
      const { registry, api } = test
      await pushed(test) // or it would look as if the storage were empty
      const blob = await pushed(test)
      const { digest, content } = blob
      const url = `/v2/${repository}/blobs/${digest}`
      const head = () => api.head(url)
      expect((await head()).status).toBe(200) // and is remembered now
      await damage(test, blob)
      await age(registry)
      expect(await runs(registry, 2)).toEqual({ blobs: 1, bytes: 100_000, quarantined: 1 })

      const row = await rowOf(test, digest)
      expect(row).toMatchObject({ state: 'quarantined' })
      expect(row?.problem).toMatch(
        /^(?:the content is sha256:|\d+ bytes instead of|the bytes are gone)/,
      )
      expect((await head()).status).toBe(404)
      expect((await api.get(url)).status).toBe(404)
      await expect(pushManifest(registry, repository, imageOf([digest]))).rejects.toMatchObject({
        code: 'MANIFEST_BLOB_UNKNOWN',
        details: [digest],
      })

      await pushBlob(registry, repository, content)
      expect(await rowOf(test, digest)).toMatchObject({
        state: 'live',
        problem: null,
        isFresh: true,
      })
      expect((await head()).status).toBe(200)
      await pushManifest(registry, repository, imageOf([digest]))
      const stored = await statBlob(registry, repository, digest)
      const read = await bytesOf(readBlob(registry, stored))
      expect(read.equals(content)).toBe(true)
      await age(registry)
      expect(await runs(registry, 3)).toMatchObject({ blobs: 2, quarantined: 0 })
    },
  )

  it('leaves alone what a push healed while it was read', async () => {
    const test = await open()
    const { registry } = test
    const { digest, content, location } = await pushed(test)
    await test.storage.shorten(location, 10)
    await age(registry)
    const barrier = gate()
    const { blobs } = registry
    const slow = withBlobs(registry, {
      read: async function* (where, range, signal) {
        yield* blobs.read(where, range, signal)
        await barrier.wait()
      },
    })
    const counts = new ScrubCounts()
    const scrubbing = run(slow, counts)
    await barrier.reached
    await pushBlob(registry, repository, content)
    barrier.open()
    expect(await scrubbing).toMatchObject({ quarantined: 0 })
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live' })
    const stored = await statBlob(registry, repository, digest)
    const read = await bytesOf(readBlob(registry, stored))
    expect(read.equals(content)).toBe(true)
  })

  it('goes on in another process where one died, and reads nothing twice', async () => {
    const test = await open()
    for (let count = 0; count < 3; count++) await pushed(test)
    await age(test.registry)
    const { reads, registry } = watched(test.registry)
    await run(registry)
    const dying = new AbortController()
    const { blobs } = registry
    const dies = withBlobs(registry, {
      read: (location, range, signal) => {
        dying.abort(new Error('killed'))
        return blobs.read(location, range, signal)
      },
    })
    await run(dies, new ScrubCounts(), dying.signal)
    expect(reads).toHaveLength(2)

    const other = { ...registry, uploadLocks: new UploadLocks(registry.db) }
    await run(other)
    expect(reads, 'the dead one has the claim').toHaveLength(2)
    await registry.db.query('update periodic_work set claimed_until = now()')
    expect(await runs(other, 3)).toMatchObject({ blobs: 2 })
    expect(reads).toHaveLength(4)
    expect(new Set(reads).size).toBe(3)
  })

  it('ends at once when it is told to, in the middle of a blob', async () => {
    const test = await open()
    const { digest } = await pushed(test, randomBytes(3_000_000))
    await age(test.registry)
    const ending = new AbortController()
    const { blobs } = test.registry
    const registry = withBlobs(test.registry, {
      read: async function* (location, range, signal) {
        for await (const chunk of blobs.read(location, range, signal)) {
          setImmediate(() => ending.abort(new Error('the server stops')))
          yield chunk
        }
      },
    })
    const counts = new ScrubCounts()
    const { signal } = ending
    // It would take 45 seconds.
    await scrub(registry, { days: 30, bytesPerSecond: 65_536, counts, signal })
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live', isFresh: false })
    expect(await test.storage.openHandles()).toBe(0)
  })

  it('quarantines nothing while the storage is away', async () => {
    const test = await open()
    const { digest } = await pushed(test)
    await age(test.registry)
    const registry = { ...test.registry, blobs: test.away }
    await expect(run(registry)).rejects.toThrow(StorageUnavailable)
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live', isFresh: false })
  })

  it('quarantines nothing when no blob is there any more', async () => {
    const test = await open()
    const blobs = [await pushed(test), await pushed(test)]
    for (const { location } of blobs) await test.storage.lose(location)
    await age(test.registry)
    await expect(run(test.registry)).rejects.toThrow('no blob is there')
    for (const { digest } of blobs)
      expect(await rowOf(test, digest)).toMatchObject({ state: 'live' })
  })

  it('is not held up by one blob that cannot be read', async () => {
    const test = await open()
    const [one, other] = [await pushed(test), await pushed(test)]
    await age(test.registry)
    const { blobs } = test.registry
    const registry = withBlobs(test.registry, {
      read: (location, range, signal) => {
        if (location === one.location) throw new StorageUnavailable('in the archive')
        return blobs.read(location, range, signal)
      },
    })
    expect(await runs(registry, 2)).toMatchObject({ blobs: 1, quarantined: 0 })
    expect(await rowOf(test, one.digest)).toMatchObject({ state: 'live', isFresh: false })
    expect(await rowOf(test, other.digest)).toMatchObject({ isFresh: true })
  })

  it('waits for a push of the same content that is about to be committed', async () => {
    const test = await open()
    const { registry } = test
    await pushed(test)
    const { digest, content, location } = await pushed(test)
    await test.storage.shorten(location, 10)
    await registry.db.query(
      `update blobs set verified_at = now() - interval '40 days' where digest = $1`,
      [digest],
    )
    const barrier = gate()
    const placing = {
      ...registry,
      faultPoint: (step: string) => (step === 'blob locked' ? barrier.wait() : undefined),
    }
    const push = pushBlob(placing, repository, content)
    await barrier.reached
    const scrubbing = run(registry)
    expect(await isWaiting(scrubbing)).toBe(true)
    barrier.open()
    await push
    expect(await scrubbing).toMatchObject({ quarantined: 0 })
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live' })
  })
})

describeOnEachDriver('the bytes of a folder or bucket', (open) => {
  it('are those of the row, so the scrub tells a blob that is another one', async () => {
    const test = await open()
    const one = await pushed(test)
    const other = await pushed(test)
    await test.overwrite(one.location, other.content)
    await age(test.registry)
    await runs(test.registry, 2)
    expect((await rowOf(test, one.digest))?.problem).toBe(`the content is ${other.digest}`)
    if (test.driver === 's3') return
    await rm(path.join(test.folder, other.location))
    assert((await rowOf(test, other.digest))?.state === 'live')
  })
})
