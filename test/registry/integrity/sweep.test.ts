import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { type Digest, digestOf, splitDigest } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { readBlob, statBlob } from '../../../registry/blobs.ts'
import { finishUpload } from '../../../registry/finish-upload.ts'
import { sweepOrphans, sweepOrphansWhenDue } from '../../../registry/integrity/sweep.ts'
import { appendToUpload, startUpload } from '../../../registry/uploads.ts'
import { append, bytesOf, MIB } from '../../contract/bytes.ts'
import { dyingAt, gate, isWaiting, stoppingAt } from '../gate.ts'
import { chunkOf, pushBlob } from '../push.ts'
import { type DamagedRegistry, describeOnEachDriver } from './stores.ts'

const repository = parseRepositoryName('sweep/here')
const NOW = { olderThanSeconds: 0 }
const NOTHING = { blobs: 0, uploads: 0, bytes: 0 }

async function pushed({ registry }: DamagedRegistry, content = randomBytes(1000)) {
  const digest = await pushBlob(registry, repository, content)
  const { location } = await statBlob(registry, repository, digest)
  return { content, digest, location }
}

/** Bytes of a blob that no row names. */
async function orphaned(test: DamagedRegistry, content = randomBytes(1000)) {
  const blob = await pushed(test, content)
  await test.registry.db.query('delete from repository_blobs where digest = $1', [blob.digest])
  await test.registry.db.query('delete from blobs where digest = $1', [blob.digest])
  test.registry.cache.forgetAll()
  return blob
}

interface Pushed {
  readonly digest: Digest
  readonly content: Buffer
}

async function expectWhole({ registry }: DamagedRegistry, { digest, content }: Pushed) {
  registry.cache.forgetAll()
  const stored = await statBlob(registry, repository, digest)
  const read = await bytesOf(readBlob(registry, stored))
  expect(read.equals(content)).toBe(true)
}

describeOnEachDriver('a sweep of what no row names', (open) => {
  it('removes bytes of blobs and of uploads, and nothing that somebody needs', async () => {
    const test = await open()
    const { registry } = test
    const kept = await pushed(test)
    const orphan = await orphaned(test)
    const begun = { offset: 0, state: registry.blobs.startUpload(randomUUID()) }
    await append(registry.blobs, begun, [randomBytes(6 * MIB)])
    const id = await startUpload(registry, repository, { owner: undefined, algorithm: 'sha256' })
    const key = { repository, id, owner: undefined }
    const content = randomBytes(6 * MIB)
    await appendToUpload(registry, key, { ...chunkOf(content), first: 0, length: content.length })

    expect(await sweepOrphans(registry, { olderThanSeconds: 3600 })).toEqual(NOTHING)
    expect(await registry.blobs.size(orphan.location)).toBe(1000)
    expect(await sweepOrphans(registry, NOW)).toMatchObject({ blobs: 1, uploads: 1 })
    expect(await registry.blobs.size(orphan.location)).toBeUndefined()
    expect(await sweepOrphans(registry, NOW)).toEqual(NOTHING)

    await expectWhole(test, kept)
    const digest = digestOf(content)
    await finishUpload(registry, key, digest, undefined)
    await expectWhole(test, { digest, content })
  })

  it('takes what a push left that died before its commit, and the next push is whole', async () => {
    const test = await open()
    const { registry } = test
    const content = randomBytes(1000)
    await expect(pushBlob(dyingAt(registry, 'blob placed'), repository, content)).rejects.toThrow(
      'died',
    )
    // On S3 the session is still there, and is dropped with its bytes when it expires.
    const { blobs } = await sweepOrphans(registry, NOW)
    expect(blobs).toBe(test.driver === 'files' ? 1 : 0)
    await registry.db.query('delete from upload_sessions')
    expect((await sweepOrphans(registry, NOW)).blobs).toBe(test.driver === 'files' ? 0 : 1)
    const digest = await pushBlob(registry, repository, content)
    await expectWhole(test, { digest, content })
  })

  it.each(['upload received', 'blob locked', 'blob placed', 'blob committed'] as const)(
    'loses nothing of a push that has come to: %s',
    async (step) => {
      const test = await open()
      const { registry } = test
      const barrier = gate()
      const content = randomBytes(1000)
      const push = pushBlob(stoppingAt(registry, step, barrier), repository, content)
      await barrier.reached
      const sweep = sweepOrphans(registry, NOW)
      // With files the bytes lie under their digest, whose lock the push has.
      const waits = test.driver === 'files' && step === 'blob placed'
      const before = waits ? await isWaiting(sweep) : await sweep
      expect(before).toEqual(waits ? true : NOTHING)
      barrier.open()
      const digest = await push
      expect(await sweep).toEqual(NOTHING)
      await expectWhole(test, { digest, content })
    },
  )

  it('loses nothing of a push of bytes that nobody named', async () => {
    const test = await open()
    const { registry } = test
    const orphan = await orphaned(test)
    const barrier = gate()
    const push = pushBlob(stoppingAt(registry, 'blob locked', barrier), repository, orphan.content)
    await barrier.reached
    const sweep = sweepOrphans(registry, NOW)
    await isWaiting(sweep)
    barrier.open()
    await push
    await sweep
    await expectWhole(test, orphan)
  })

  it('takes what a healed blob left under its old key', async () => {
    const test = await open()
    const { registry } = test
    const bad = await pushed(test)
    await registry.db.query(
      `update blobs set state = 'quarantined', problem = 'x' where digest = $1`,
      [bad.digest],
    )
    await pushBlob(registry, repository, bad.content)
    const { blobs } = await sweepOrphans(registry, NOW)
    expect(blobs).toBe(test.driver === 's3' ? 1 : 0)
    await expectWhole(test, bad)
  })

  it('leaves alone what was there before the database', async () => {
    const test = await open()
    const { registry } = test
    const { location } = await orphaned(test)
    await registry.db.query(`update migrations set applied_at = now() + interval '1 hour'`)
    expect(await sweepOrphans(registry, NOW)).toEqual(NOTHING)
    expect(await registry.blobs.size(location)).toBe(1000)
  })

  it('is done once in its time, by one process', async () => {
    const test = await open()
    const { registry } = test
    const { location } = await orphaned(test)
    const { signal } = new AbortController()
    const finished = async () => {
      const { rows } = await registry.db.query(
        `select finished_at from periodic_work where name = 'orphans'`,
      )
      return rows
    }
    await sweepOrphansWhenDue(registry, 3600, signal)
    const first = await finished()
    expect(first).toHaveLength(1)
    await sweepOrphansWhenDue(registry, 3600, signal)
    expect(await finished()).toEqual(first)
    expect(await registry.blobs.size(location), 'it is younger than a day').toBe(1000)
  })

  it('says that it could not look when the storage is away', async () => {
    const test = await open()
    await pushed(test)
    await expect(sweepOrphans({ ...test.registry, blobs: test.away }, NOW)).rejects.toThrow(
      /ENOENT|NoSuchBucket/,
    )
  })

  it('leaves alone what a registry:2 keeps in the same folder, and too much at once', async () => {
    const test = await open()
    if (test.driver === 's3') return
    const { registry, folder } = test
    const put = async (content: Buffer) => {
      const { hex } = splitDigest(digestOf(content))
      const file = `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`
      await mkdir(path.dirname(path.join(folder, file)), { recursive: true })
      await writeFile(path.join(folder, file), content)
      return file
    }
    await mkdir(path.join(folder, 'docker/registry/v2/repositories'))
    const adopted = await put(Buffer.from('adopted'))
    expect(await sweepOrphans(registry, NOW)).toEqual(NOTHING)
    expect(await registry.blobs.size(adopted)).toBe(7)
  })

  it('removes nothing when most of what is there is not known', async () => {
    const test = await open()
    if (test.driver === 's3') return
    const { registry, folder } = test
    for (let count = 0; count < 101; count++) {
      const { hex } = splitDigest(digestOf(Buffer.from(`${count}`)))
      const file = path.join(
        folder,
        `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`,
      )
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(file, 'x')
    }
    expect(await sweepOrphans(registry, NOW)).toEqual(NOTHING)
    await registry.db.query(
      `insert into blobs (digest, size_bytes, location)
       select 'sha256:' || encode(sha256('0'), 'hex'), 1,
         'docker/registry/v2/blobs/sha256/5f/5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9/data'`,
    )
    expect(await sweepOrphans(registry, NOW)).toMatchObject({ blobs: 100 })
    expect(await sweepOrphans(registry, NOW)).toEqual(NOTHING)
  })
})
