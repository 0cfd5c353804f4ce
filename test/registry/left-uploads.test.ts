import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRepositoryName } from '../../oci/reference.ts'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
import { LeftUploads } from '../../registry/left-uploads.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import { ensureRepository, type RepositoryId } from '../../storage/metadata/repositories.ts'
import { insertUpload, saveUpload, type UploadSession } from '../../storage/metadata/uploads.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'

const repository = parseRepositoryName('left/uploads')
const TTL_SECONDS = 3600

let test: TestRegistry
beforeAll(async () => {
  test = await openTestRegistry()
})
afterAll(() => test.close())

function sessionOf(id: string, repositoryId: RepositoryId): UploadSession {
  return {
    id,
    repositoryId,
    algorithm: 'sha256',
    offset: 0,
    state: { file: id },
    tail: undefined,
    digest: undefined,
    hashState: undefined,
    contested: false,
    leftovers: false,
  }
}

describe('an upload that was left', () => {
  const id = randomUUID()
  const key = { repository, id, owner: 'user:a' }
  const session = sessionOf(id, '7' as RepositoryId)
  const leaving = (repositoryId: string | undefined, ttlSeconds = TTL_SECONDS) => {
    const left = new LeftUploads(() => repositoryId as RepositoryId | undefined)
    left.leave(key, session, ttlSeconds)
    return left
  }

  it('is taken up once', () => {
    const left = leaving('7')
    expect(left.take(key)).toBe(session)
    expect(left.take(key)).toBeUndefined()
  })

  it.each([
    ['owner', { owner: 'user:b' }],
    ['owner', { owner: undefined }],
    ['repository', { repository: parseRepositoryName('left/elsewhere') }],
  ])('is kept from another %s, and stays for its own', (_, other) => {
    const left = leaving('7')
    expect(left.take({ ...key, ...other })).toBeUndefined()
    expect(left.take(key)).toBe(session)
  })

  it('is the database’s to tell when its repository was forgotten, or is another one', () => {
    expect(leaving(undefined).take(key)).toBeUndefined()
    expect(leaving('8').take(key)).toBeUndefined()
  })

  it('is the database’s to tell when its time is nearly over', () => {
    expect(leaving('7', 4).take(key)).toBeUndefined()
  })
})

async function begin() {
  const { db } = test.registry
  const repositoryId = await ensureRepository(db, repository)
  const left = new LeftUploads(() => repositoryId)
  const locks = new UploadLocks(db, { alone: true, left })
  const id = randomUUID()
  const key = { repository, id, owner: undefined }
  const session = sessionOf(id, repositoryId)
  const upload = { ...session, owner: undefined, ttlSeconds: TTL_SECONDS, durable: false }
  await insertUpload(db, repositoryId, upload)
  locks.leave(key, session, TTL_SECONDS)
  return { db, locks, key, session }
}

describe('the locks of a process that is alone', () => {
  it('take it up without a claim, save by no claim, and go on from what was saved', async () => {
    const { db, locks, key, session } = await begin()
    const lock = (await locks.acquire(key))!
    expect(lock.session).toBe(session)
    const { writer } = lock
    expect(writer).toBeUndefined()

    const progress = { ...session, offset: 5, writer, ttlSeconds: TTL_SECONDS }
    expect(await saveUpload(db, key.id, progress)).toBe(true)
    await lock.release(true)

    // Not left anew: the row tells.
    const next = (await locks.acquire(key))!
    expect(next.session.offset).toBe(5)
    expect(next.writer).toBe(locks.writer)
    await next.release(false)
  })

  it('let a newer request take over', async () => {
    const { locks, key } = await begin()
    const older = (await locks.acquire(key))!
    older.signal.addEventListener('abort', () => void older.release(false))
    const newer = (await locks.acquire(key))!
    expect(older.signal.aborted).toBe(true)
    expect(newer.session.offset).toBe(0)
    await newer.release(false)
  })

  it('keep one that is written to from being dropped, however long its body takes', async () => {
    const { db, locks, key } = await begin()
    const lock = (await locks.acquire(key))!
    const long = `update upload_sessions set expires_at = now() - interval '1 hour' where id = $1`
    await db.query({ text: long, values: [key.id] })
    const registry = { ...test.registry, uploadLocks: locks }

    expect(await dropExpiredUploads(registry)).toBe(0)
    await lock.release(false)
    expect(await dropExpiredUploads(registry)).toBe(1)
    expect(await locks.acquire(key)).toBeUndefined()
  })
})
