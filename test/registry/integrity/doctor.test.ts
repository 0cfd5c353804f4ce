import { randomBytes, randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { readBlob, statBlob } from '../../../registry/blobs.ts'
import { type DoctorOptions, diagnose, type Finding } from '../../../registry/integrity/doctor.ts'
import type { Registry } from '../../../registry/registry.ts'
import { StorageUnavailable } from '../../../storage/blob/blob-store.ts'
import { append, bytesOf, MIB } from '../../contract/bytes.ts'
import { withBlobs } from '../gate.ts'
import { imageOf, pushBlob, pushManifest } from '../push.ts'
import { type DamagedRegistry, describeOnEachDriver, flipped, rowOf } from './stores.ts'

const repository = parseRepositoryName('doctor/here')
const LOOK: DoctorOptions = {
  repair: false,
  deep: false,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  olderThanSeconds: 0,
  mayBeEmpty: false,
}

async function examine(registry: Registry, options: Partial<DoctorOptions> = {}) {
  const findings: Finding[] = []
  for await (const finding of diagnose(registry, { ...LOOK, ...options })) findings.push(finding)
  return findings
}

const kindsOf = (findings: readonly Finding[]) => findings.map(({ kind }) => kind).toSorted()

async function pushed({ registry }: DamagedRegistry, content = randomBytes(1000)) {
  const digest = await pushBlob(registry, repository, content)
  const { location } = await statBlob(registry, repository, digest)
  return { content, digest, location }
}

/** One fault of each kind that a look finds, and what is whole. */
async function damage(test: DamagedRegistry) {
  const { registry } = test
  const whole = await pushed(test)
  const missing = await pushed(test)
  const short = await pushed(test)
  const flip = await pushed(test)
  const orphan = await pushed(test)
  await pushManifest(registry, repository, imageOf([whole.digest]), { reference: 'whole' })
  const digest = await pushManifest(registry, repository, imageOf([], 'bad'), { reference: 'bad' })
  await registry.db.query(`update manifests set bytes = bytes || '\\x20' where digest = $1`, [
    digest,
  ])
  await test.storage.lose(missing.location)
  await test.storage.shorten(short.location, 10)
  await test.overwrite(flip.location, flipped(flip.content))
  await registry.db.query('delete from repository_blobs where digest = $1', [orphan.digest])
  await registry.db.query('delete from blobs where digest = $1', [orphan.digest])
  const session = randomUUID()
  const begun = { offset: 0, state: registry.blobs.startUpload(session) }
  await append(registry.blobs, begun, [randomBytes(6 * MIB)])
  return { whole, missing, short, flip, orphan, session, manifest: digest }
}

describeOnEachDriver('the doctor', (open) => {
  it('finds nothing where nothing is wrong, an upload under way least of all', async () => {
    const test = await open()
    const blob = await pushed(test)
    await pushManifest(test.registry, repository, imageOf([blob.digest]), { reference: 'latest' })
    expect(await examine(test.registry, { deep: true, repair: true })).toEqual([])
    expect(await examine(test.registry)).toEqual([])
  })

  it('finds what differs either way, and changes nothing of it', async () => {
    const test = await open()
    const { missing, short, orphan, session, manifest } = await damage(test)
    const findings = await examine(test.registry)
    expect(kindsOf(findings)).toEqual(['manifest', 'missing', 'orphan', 'size', 'upload'])
    const of = (kind: string) => findings.find((finding) => finding.kind === kind)
    expect(of('missing')).toMatchObject({
      digest: missing.digest,
      where: missing.location,
      sizeBytes: 1000,
      problem: 'the bytes are gone',
      isRepaired: false,
    })
    expect(of('size')).toMatchObject({ digest: short.digest, problem: '10 bytes instead of 1000' })
    expect(of('orphan')).toMatchObject({ where: orphan.location, sizeBytes: 1000 })
    expect(of('upload')).toMatchObject({ where: session })
    expect(of('manifest')).toMatchObject({ digest: manifest, where: repository })
    expect(kindsOf(await examine(test.registry))).toEqual(kindsOf(findings))
    expect(await rowOf(test, missing.digest)).toMatchObject({ state: 'live' })
  })

  it('repairs on request what can be repaired', async () => {
    const test = await open()
    const { whole, missing, short, flip, orphan } = await damage(test)
    const { registry } = test
    const findings = await examine(registry, { repair: true, deep: true })
    const left = findings.filter(({ isRepaired }) => !isRepaired)
    expect(kindsOf(findings)).toEqual([
      'content',
      'manifest',
      'missing',
      'orphan',
      'size',
      'upload',
    ])
    expect(kindsOf(left)).toEqual(['manifest'])
    for (const { digest } of [missing, short, flip]) {
      expect(await rowOf(test, digest)).toMatchObject({ state: 'quarantined' })
      await expect(statBlob(registry, repository, digest)).rejects.toMatchObject({
        code: 'BLOB_UNKNOWN',
      })
    }
    expect(await registry.blobs.size(orphan.location)).toBeUndefined()
    expect(await rowOf(test, whole.digest)).toMatchObject({ state: 'live' })

    // What is left is left to pushes.
    const again = await examine(registry, { repair: true, deep: true })
    expect(kindsOf(again)).toEqual(['manifest', 'quarantined', 'quarantined', 'quarantined'])
    for (const { content } of [missing, short, flip]) await pushBlob(registry, repository, content)
    const healed = await examine(registry, { repair: true, deep: true })
    // On S3 they lie elsewhere now.
    expect(kindsOf(healed)).toEqual(
      test.driver === 's3' ? ['manifest', 'orphan', 'orphan'] : ['manifest'],
    )
    for (const { digest, content } of [missing, short, flip]) {
      const stored = await statBlob(registry, repository, digest)
      const read = await bytesOf(readBlob(registry, stored))
      expect(read.equals(content)).toBe(true)
    }
  })

  it('releases a blob whose bytes came back, only when asked to', async () => {
    const test = await open()
    await pushed(test)
    const { digest, location, content } = await pushed(test)
    await test.storage.shorten(location, 10)
    await examine(test.registry, { repair: true })
    await test.overwrite(location, content)
    expect(await examine(test.registry)).toMatchObject([
      { kind: 'quarantined', digest, problem: '10 bytes instead of 1000', isRepaired: false },
    ])
    expect(await examine(test.registry, { repair: true })).toMatchObject([{ isRepaired: true }])
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live', problem: null })
    expect(await examine(test.registry, { deep: true })).toEqual([])
  })

  it('tells of blobs that are being deleted', async () => {
    const test = await open()
    const { digest } = await pushed(test)
    await test.registry.db.query(`update blobs set state = 'deleting' where digest = $1`, [digest])
    expect(await examine(test.registry, { repair: true })).toMatchObject([
      { kind: 'deleting', digest, isRepaired: false },
    ])
  })

  it('leaves out what is young, and what is not of this database', async () => {
    const test = await open()
    await damage(test)
    const young = await examine(test.registry, { olderThanSeconds: 3600, repair: true })
    expect(kindsOf(young)).toEqual(['manifest', 'missing', 'size'])
    await test.registry.db.query(`update migrations set applied_at = now() + interval '1 hour'`)
    const foreign = await examine(test.registry, { repair: true })
    const left = foreign.filter(({ kind }) => kind === 'foreign')
    expect(left).toHaveLength(2)
    expect(left.every(({ isRepaired }) => !isRepaired)).toBe(true)
  })

  it('does not find what a push heals while it looks', async () => {
    const test = await open()
    await pushed(test)
    const { digest, content, location } = await pushed(test)
    await test.storage.shorten(location, 10)
    const { blobs } = test.registry
    const registry = withBlobs(test.registry, {
      size: async (where) => {
        const size = await blobs.size(where)
        if (where === location) await pushBlob(test.registry, repository, content)
        return size
      },
    })
    expect(await examine(registry, { repair: true, olderThanSeconds: 3600 })).toEqual([])
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live' })
  })

  it('could not look while the storage is away, or where no blob is there', async () => {
    const test = await open()
    const { digest, location } = await pushed(test)
    const other = await pushed(test)
    const away = { ...test.registry, blobs: test.away }
    await expect(examine(away, { repair: true })).rejects.toThrow(StorageUnavailable)
    // More than it looks at before it believes that.
    for (const each of [location, other.location]) await test.storage.lose(each)
    await test.registry.db.query(
      `insert into blobs (digest, size_bytes, location)
       select 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1, 'blobs/' || n
       from generate_series(1, 30) n`,
    )
    await expect(examine(test.registry, { repair: true })).rejects.toThrow('no blob is there')
    expect(await rowOf(test, digest)).toMatchObject({ state: 'live' })
    await examine(test.registry, { repair: true, mayBeEmpty: true })
    expect(await rowOf(test, digest)).toMatchObject({ state: 'quarantined' })
    const again = await examine(test.registry, { repair: true, mayBeEmpty: true })
    expect(new Set(kindsOf(again))).toEqual(new Set(['quarantined']))
  })

  it('looks at all rows, page by page', async () => {
    const test = await open()
    if (test.driver === 's3') return // as many questions as rows: nothing else is different
    const { digest } = await pushed(test)
    await test.registry.db.query(
      `insert into blobs (digest, size_bytes, location, verified_at)
       select 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1, 'blobs/' || n,
         now() - interval '1 day'
       from generate_series(1, 1100) n`,
    )
    const findings = await examine(test.registry)
    expect(findings).toHaveLength(1100)
    expect(findings.some((finding) => finding.digest === digest)).toBe(false)
  })
})
