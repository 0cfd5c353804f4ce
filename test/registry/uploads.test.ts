import { randomBytes } from 'node:crypto'
import { readdir, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import { readBlob, statBlob } from '../../registry/blobs.ts'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
import { finishUpload } from '../../registry/finish-upload.ts'
import { BodyCut } from '../../registry/receive.ts'
import type { Registry } from '../../registry/registry.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import {
  appendToUpload,
  getUploadOffset,
  startUpload,
  type UploadKey,
} from '../../registry/uploads.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { chunkOf } from './push.ts'

let test: TestRegistry
let registry: Registry

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
})
afterAll(() => test.close())

const repository = parseRepositoryName('up/loads')

async function start(algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<UploadKey> {
  const id = await startUpload(registry, repository, { owner: undefined, algorithm })
  return { repository, id, owner: undefined }
}

async function contentOf(digest: Digest): Promise<Buffer> {
  const chunks: Buffer[] = []
  const blob = await statBlob(registry, repository, digest)
  for await (const chunk of readBlob(registry, blob, undefined)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** The same registry as another process has it: nothing in memory is shared. */
function anotherProcess(): Registry {
  return {
    ...registry,
    uploadLocks: new UploadLocks(registry.db),
    uploadHashes: new UploadHashes(),
  }
}

const fileOf = ({ id }: UploadKey) => path.join(test.root, 'uploads', id)

describe('an upload', () => {
  it('may go on in any process, and is hashed right in each', async () => {
    const [a, b] = [registry, anotherProcess()]
    const parts = [randomBytes(1000), randomBytes(70_000), randomBytes(5), randomBytes(100)]
    const content = Buffer.concat(parts)
    const key = await start()
    await appendToUpload(a, key, chunkOf(parts[0]!))
    await appendToUpload(b, key, chunkOf(parts[1]!))
    await appendToUpload(a, key, chunkOf(parts[2]!))
    await finishUpload(a, key, digestOf(content), chunkOf(parts[3]!))
    expect((await contentOf(digestOf(content))).equals(content)).toBe(true)
  })

  it('may be finished with another algorithm than it began with', async () => {
    const content = randomBytes(500)
    const key = await start('sha256')
    await appendToUpload(registry, key, chunkOf(content))
    const digest = digestOf(content, 'sha512')
    await finishUpload(registry, key, digest, undefined)
    expect((await contentOf(digest)).equals(content)).toBe(true)
  })

  it('is what it was when its last chunk makes another digest', async () => {
    const key = await start()
    const content = randomBytes(100)
    await appendToUpload(registry, key, chunkOf(content.subarray(0, 60)))
    const finish = (rest: Buffer) => finishUpload(registry, key, digestOf(content), chunkOf(rest))
    await expect(finish(randomBytes(40))).rejects.toMatchObject({ code: 'DIGEST_INVALID' })
    await expect(finishUpload(registry, key, digestOf(content), undefined)).rejects.toMatchObject({
      code: 'DIGEST_INVALID',
    })
    expect(await getUploadOffset(registry, key)).toBe(60)
    await finish(content.subarray(60))
    expect((await contentOf(digestOf(content))).equals(content)).toBe(true)
  })

  it('is what it was when its body is cut off', async () => {
    const key = await start()
    await appendToUpload(registry, key, chunkOf(Buffer.from('abc')))
    const body = new PassThrough()
    const appending = appendToUpload(registry, key, { ...chunkOf(Buffer.alloc(0)), body })
    body.write(randomBytes(200_000))
    setTimeout(() => body.destroy(), 20)
    await expect(appending).rejects.toThrow(BodyCut)
    expect(await getUploadOffset(registry, key)).toBe(3)
    await finishUpload(registry, key, digestOf(Buffer.from('abc')), undefined)
    expect((await contentOf(digestOf(Buffer.from('abc')))).toString()).toBe('abc')
  })

  it('publishes what was recorded, not what a process that was killed wrote on', async () => {
    const key = await start()
    const content = randomBytes(1000)
    const digest = digestOf(content)
    await appendToUpload(registry, key, chunkOf(content))
    // As a process leaves it that is killed in the middle of the next request's body.
    await writeFile(fileOf(key), randomBytes(50), { flag: 'a' })
    await finishUpload(registry, key, digest, undefined)
    expect((await contentOf(digest)).length).toBe(1000)
    const { location } = await statBlob(registry, repository, digest)
    expect(await registry.blobs.size(location)).toBe(1000)
  })

  it.each(['the process that began it', 'another process'])(
    'whose bytes are gone is unknown in %s',
    async (where) => {
      const process = where === 'another process' ? anotherProcess() : registry
      const content = randomBytes(100)
      for (const algorithm of ['sha256', 'sha512'] as const) {
        const key = await start()
        await appendToUpload(registry, key, chunkOf(content))
        await unlink(fileOf(key))
        const finished = finishUpload(process, key, digestOf(content, algorithm), undefined)
        await expect(finished).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' })
      }
    },
  )

  it('is taken over by a newer request, while the older one hangs', async () => {
    const key = await start()
    const body = new PassThrough()
    const older = appendToUpload(registry, key, { ...chunkOf(Buffer.alloc(0)), body })
    older.catch(() => {})
    body.write('lost')
    while (registry.uploadLocks.size === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await appendToUpload(registry, key, chunkOf(Buffer.from('kept')))).toBe(4)
    await expect(older).rejects.toThrow('a newer request')
    const digest = digestOf(Buffer.from('kept'))
    await finishUpload(registry, key, digest, undefined)
    expect((await contentOf(digest)).toString()).toBe('kept')
  })

  it('refuses a chunk that does not begin where it ends, and stays', async () => {
    const key = await start()
    await appendToUpload(registry, key, chunkOf(Buffer.from('abc')))
    for (const first of [0, 2, 4]) {
      await expect(
        appendToUpload(registry, key, { ...chunkOf(Buffer.from('x')), first }),
      ).rejects.toMatchObject({ status: 416, offset: 3 })
    }
    const short = { ...chunkOf(Buffer.from('xy')), first: 3, length: 5 }
    await expect(appendToUpload(registry, key, short)).rejects.toMatchObject({
      code: 'SIZE_INVALID',
    })
    expect(await getUploadOffset(registry, key)).toBe(3)
  })

  it('counts all of its bytes against the limit', async () => {
    const limited = { ...registry, limits: { ...registry.limits, uploadBytes: 10 } }
    const key = await start()
    await appendToUpload(limited, key, chunkOf(randomBytes(8)))
    await expect(appendToUpload(limited, key, chunkOf(randomBytes(3)))).rejects.toMatchObject({
      status: 413,
    })
    expect(await appendToUpload(limited, key, chunkOf(randomBytes(2)))).toBe(10)
  })

  it('that expired is dropped with its bytes', async () => {
    const key = await start()
    await appendToUpload(registry, key, chunkOf(randomBytes(8)))
    await registry.db.query(
      `update upload_sessions set expires_at = now() - interval '1 s' where id = $1`,
      [key.id],
    )
    // Others are those that tests above have ended.
    expect(await dropExpiredUploads(registry)).toBeGreaterThan(0)
    expect(await readdir(path.join(test.root, 'uploads'))).not.toContain(key.id)
    await expect(getUploadOffset(registry, key)).rejects.toMatchObject({
      code: 'BLOB_UPLOAD_UNKNOWN',
    })
  })
})

describe('a hundred uploads of one blob at once', () => {
  it('all succeed, and leave one blob and nothing else', async () => {
    const content = randomBytes(20_000)
    const digest = digestOf(content)
    const keys = await Promise.all(Array.from({ length: 100 }, () => start()))
    await Promise.all(keys.map((key) => finishUpload(registry, key, digest, chunkOf(content))))
    expect((await contentOf(digest)).equals(content)).toBe(true)
    const files = await readdir(path.join(test.root, 'uploads'))
    expect(files.filter((file) => keys.some(({ id }) => id === file))).toEqual([])
  })
})
