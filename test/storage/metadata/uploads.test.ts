import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { type Pool, transaction } from '../../../storage/metadata/database.ts'
import {
  claimExpiredUploads,
  claimUpload,
  releaseAllUploads,
  releaseUpload,
  renewUploadClaims,
} from '../../../storage/metadata/upload-claims.ts'
import {
  commitUpload,
  deleteUpload,
  expireUpload,
  findUpload,
  insertUpload,
  saveSealedUpload,
  saveUpload,
  type UploadKey,
} from '../../../storage/metadata/uploads.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { seedRepository } from './seed.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

const A = { writer: randomUUID(), seconds: 15 }
const B = { writer: randomUUID(), seconds: 15 }

async function startUpload(owner?: string): Promise<UploadKey> {
  const repository = await seedRepository(db)
  const id = randomUUID()
  const state = { file: id, parts: [1, { a: 'b' }] }
  await insertUpload(db, repository.id, {
    id,
    owner,
    algorithm: 'sha256',
    state,
    ttlSeconds: 60,
    durable: false,
  })
  return { repository: repository.name, id, owner }
}

const age = (id: string, column: 'writer_until' | 'expires_at') =>
  db.query(`update upload_sessions set ${column} = now() - interval '1 second' where id = $1`, [id])

const progress = {
  writer: A.writer,
  offset: 2 ** 40,
  state: { file: 'x' },
  digest: digestOf(Buffer.from('so far')),
  tail: Buffer.from([0, 1, 255]),
  hashState: Buffer.from('state'),
  ttlSeconds: 60,
}

const REVIEW = { reviewSeconds: 60 }

describe('an upload session', () => {
  it('is found by its repository and owner only', async () => {
    const key = await startUpload('ann')
    expect(await findUpload(db, key)).toEqual({ offset: 0 })
    const claimed = await claimUpload(db, key, A)
    expect(claimed).toMatchObject({ id: key.id, offset: 0, algorithm: 'sha256' })
    expect(claimed).toMatchObject({ digest: undefined, tail: undefined, hashState: undefined })
    expect(claimed?.state).toEqual({ file: key.id, parts: [1, { a: 'b' }] })
    expect(await findUpload(db, { ...key, owner: 'bob' })).toBeUndefined()
    expect(await findUpload(db, { ...key, owner: undefined })).toBeUndefined()
    const elsewhere = parseRepositoryName('some/where')
    expect(await findUpload(db, { ...key, repository: elsewhere })).toBeUndefined()
  })

  it('of nobody is found by nobody only', async () => {
    const key = await startUpload()
    expect(await findUpload(db, key)).toBeDefined()
    expect(await findUpload(db, { ...key, owner: 'ann' })).toBeUndefined()
    expect(await claimUpload(db, { ...key, owner: 'ann' }, A)).toBeUndefined()
  })

  it('is not found after it expired', async () => {
    const key = await startUpload()
    await age(key.id, 'expires_at')
    expect(await findUpload(db, key)).toBeUndefined()
    expect(await claimUpload(db, key, A)).toBeUndefined()
  })

  it('remembers how far it came, beyond 32 bits', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    expect(await saveUpload(db, key.id, progress)).toBe(true)
    expect(await findUpload(db, key)).toEqual({ offset: 2 ** 40 })
    const { offset, digest, tail, hashState } = progress
    expect(await claimUpload(db, key, B)).toMatchObject({ offset, digest, tail, hashState })
  })
})

describe('a claim', () => {
  it('keeps others out, and its own process in', async () => {
    const key = await startUpload()
    expect(await claimUpload(db, key, A)).toBeDefined()
    expect(await claimUpload(db, key, B)).toBeUndefined()
    expect(await claimUpload(db, key, A)).toBeDefined()
  })

  it('goes to one of many who want it', async () => {
    const key = await startUpload()
    const claims = await Promise.all(
      Array.from({ length: 10 }, () => claimUpload(db, key, { writer: randomUUID(), seconds: 15 })),
    )
    expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1)
  })

  it('ends when it is released, by the one who has it only', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await releaseUpload(db, key.id, { writer: B.writer, leftovers: true })
    expect(await claimUpload(db, key, B)).toBeUndefined()
    await releaseUpload(db, key.id, { writer: A.writer, leftovers: false })
    const next = await claimUpload(db, key, B)
    expect(next).toMatchObject({ leftovers: false, contested: false })
  })

  it('ends when progress is saved', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await saveUpload(db, key.id, progress)
    expect(await claimUpload(db, key, B)).toMatchObject({ offset: progress.offset })
  })

  it('says of what was released that something may be left', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await releaseUpload(db, key.id, { writer: A.writer, leftovers: true })
    expect(await claimUpload(db, key, B)).toMatchObject({ leftovers: true, contested: false })
    expect(await saveUpload(db, key.id, { ...progress, writer: B.writer })).toBe(true)
    expect(await claimUpload(db, key, A)).toMatchObject({ leftovers: true })
  })

  it('stays when the upload is sealed, which leaves no tail', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await saveUpload(db, key.id, progress)
    await claimUpload(db, key, A)
    const sealed = { state: { sealed: true }, writer: A.writer }
    expect(await saveSealedUpload(db, key.id, { ...sealed, writer: B.writer })).toBe(false)
    expect(await saveSealedUpload(db, key.id, sealed)).toBe(true)
    expect(await claimUpload(db, key, B)).toBeUndefined()
    const again = await claimUpload(db, key, A)
    expect(again).toMatchObject({ tail: undefined, state: sealed.state })
  })

  it('ends for all when its owner lets the session expire', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    expect(await expireUpload(db, key.id, B.writer)).toBe(false)
    expect(await expireUpload(db, key.id, A.writer)).toBe(true)
    expect(await findUpload(db, key)).toBeUndefined()
    expect(await claimUpload(db, key, A)).toBeUndefined()
  })

  it('runs out, and its old owner cannot save any more', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await age(key.id, 'writer_until')
    expect(await claimUpload(db, key, B)).toMatchObject({ contested: true, leftovers: true })
    expect(await saveUpload(db, key.id, progress)).toBe(false)
    expect(await renewUploadClaims(db, [key.id], A)).toEqual([])
    expect(await findUpload(db, key)).toMatchObject({ offset: 0 })
  })

  it('does not run out while it is renewed', async () => {
    const [first, second] = [await startUpload(), await startUpload()]
    await claimUpload(db, first, A)
    await claimUpload(db, second, B)
    await age(first.id, 'writer_until')
    expect(await renewUploadClaims(db, [first.id, second.id, randomUUID()], A)).toEqual([first.id])
    expect(await claimUpload(db, first, B)).toBeUndefined()
  })

  it('is freed with all others by the only process there is', async () => {
    const key = await startUpload()
    await claimUpload(db, key, A)
    await releaseAllUploads(db)
    expect(await claimUpload(db, key, B)).toMatchObject({ leftovers: true })
  })
})

describe('an expired session', () => {
  it('is claimed once, unless somebody writes to it', async () => {
    const idle = await startUpload()
    const written = await startUpload()
    const dead = await startUpload()
    const fresh = await startUpload()
    await claimUpload(db, written, A)
    await claimUpload(db, dead, A)
    for (const { id } of [idle, written, dead]) await age(id, 'expires_at')
    await age(dead.id, 'writer_until')
    const first = await claimExpiredUploads(db, B, { limit: 1, except: [] })
    expect(first).toHaveLength(1)
    const expired = [...first, ...(await claimExpiredUploads(db, A, { limit: 1000, except: [] }))]
    const claimed = new Set(expired.map(({ id }) => id))
    expect(claimed.size).toBe(expired.length)
    expect(claimed).toContain(idle.id)
    expect(claimed).toContain(dead.id)
    expect(claimed).not.toContain(written.id)
    expect(claimed).not.toContain(fresh.id)
    expect(await claimExpiredUploads(db, B, { limit: 1000, except: [] })).toEqual([])
    await deleteUpload(db, idle.id)
    await age(idle.id, 'writer_until')
    await age(dead.id, 'writer_until')
    const ids = (await claimExpiredUploads(db, B, { limit: 1000, except: [] })).map(({ id }) => id)
    expect(ids).toEqual([dead.id])
  })
})

describe('a finished upload', () => {
  it('is a blob of its repository, and no session', async () => {
    const { key, digest, rows } = await finish('here', 'finished')
    expect(rows).toEqual([{ location: 'here', state: 'live' }])
    expect(await findUpload(db, key)).toBeUndefined()
    const { rowCount } = await db.query('select from repository_blobs where digest = $1', [digest])
    expect(rowCount).toBe(1)
  })

  it('is nothing when the claim was lost meanwhile', async () => {
    const key = await startUpload()
    const session = (await claimUpload(db, key, A))!
    await age(key.id, 'writer_until')
    await claimUpload(db, key, B)
    const digest = digestOf(Buffer.from('too late'))
    const upload = {
      session,
      writer: A.writer,
      digest,
      sizeBytes: 8,
      location: 'there',
      superfluous: false,
      ...REVIEW,
    }
    expect(await transaction(db, (tx) => commitUpload(tx, upload))).toBe(false)
    expect((await db.query('select from blobs where digest = $1', [digest])).rowCount).toBe(0)
    expect(await findUpload(db, key)).toBeDefined()
  })

  it('whose bytes are superfluous stays, expired, until they are removed', async () => {
    await finish('kept', 'superfluous')
    const key = await startUpload()
    const session = (await claimUpload(db, key, A))!
    const digest = digestOf(Buffer.from('superfluous'))
    const upload = {
      session,
      writer: A.writer,
      digest,
      sizeBytes: 11,
      superfluous: true,
      ...REVIEW,
    }
    const committed = transaction(db, (tx) => commitUpload(tx, { ...upload, location: 'kept' }))
    expect(await committed).toBe(true)
    expect(await findUpload(db, key)).toBeUndefined()
    const ids = (await claimExpiredUploads(db, B, { limit: 1000, except: [] })).map(({ id }) => id)
    expect(ids).toContain(key.id)
  })

  it('is nothing once the session was expired, however late its statement comes', async () => {
    const key = await startUpload()
    const session = (await claimUpload(db, key, A))!
    expect(await expireUpload(db, key.id, A.writer)).toBe(true)
    const digest = digestOf(Buffer.from('cancelled'))
    const upload = { session, writer: A.writer, digest, sizeBytes: 9, location: 'gone', ...REVIEW }
    const late = transaction(db, (tx) => commitUpload(tx, { ...upload, superfluous: false }))
    expect(await late).toBe(false)
    expect(await saveUpload(db, key.id, progress)).toBe(false)
    expect((await db.query('select from blobs where digest = $1', [digest])).rowCount).toBe(0)
  })

  it('has its bytes where the last one put them, and lives again when it was dying', async () => {
    await finish('first', 'again')
    const { digest, rows } = await finish('second', 'again')
    expect(rows).toEqual([{ location: 'second', state: 'live' }])
    await db.query(`update blobs set state = 'quarantined', problem = 'x' where digest = $1`, [
      digest,
    ])
    const third = await finish('third', 'again')
    expect(third.rows).toEqual([{ location: 'third', state: 'live' }])
  })
})

async function finish(location: string, content: string) {
  const key = await startUpload()
  const session = (await claimUpload(db, key, A))!
  const digest = digestOf(Buffer.from(content))
  const upload = {
    session,
    writer: A.writer,
    digest,
    sizeBytes: content.length,
    location,
    superfluous: false,
    ...REVIEW,
  }
  expect(await transaction(db, (tx) => commitUpload(tx, upload))).toBe(true)
  const { rows } = await db.query('select location, state from blobs where digest = $1', [digest])
  return { key, digest, rows }
}
