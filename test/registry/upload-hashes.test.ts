import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { NativeHash, PortableHash, type RunningHash } from '../../registry/running-hash.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'

const NEW = { state: undefined, offset: 0 }

describe.each(['sha256', 'sha512'] as const)('a running hash of %s', (algorithm) => {
  const kinds: [string, () => RunningHash | Promise<RunningHash>][] = [
    ['native', () => new NativeHash(algorithm)],
    ['portable', () => PortableHash.open(algorithm, NEW)],
  ]

  it.each(kinds)('can be asked at any moment: %s', async (_kind, open) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 })), async (chunks) => {
        const hash = await open()
        for (const [index, chunk] of chunks.entries()) {
          hash.update(chunk)
          const content = Buffer.concat(chunks.slice(0, index + 1))
          expect(hash.digest()).toBe(digestOf(content, algorithm))
          expect(hash.offset).toBe(content.length)
        }
      }),
    )
  })

  it('goes on where another process wrote it down, at any byte', async () => {
    const content = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 256))
    for (let at = 0; at <= content.length; at += 7) {
      const first = await PortableHash.open(algorithm, NEW)
      first.update(content.subarray(0, at))
      const next = await PortableHash.open(algorithm, { state: first.save(), offset: at })
      next.update(content.subarray(at))
      expect(next.digest()).toBe(digestOf(content, algorithm))
      expect(next.offset).toBe(content.length)
    }
  })
})

it('a running hash is not changed by its copy', () => {
  const hash = new NativeHash('sha256')
  hash.update(Buffer.from('a'))
  hash.copy().update(Buffer.from('b'))
  expect(hash.digest()).toBe(digestOf(Buffer.from('a')))
  expect(hash.offset).toBe(1)
})

const SHA256 = { algorithm: 'sha256', expectsMore: false } as const

const session = { id: 'id', offset: 3, algorithm: 'sha256', hashState: undefined } as const

describe('the hashes of uploads', () => {
  it('go on where they were kept, again and again', async () => {
    const hashes = await kept()
    for (const text of ['d', 'e']) {
      const hash = await hashes.at(session, SHA256)
      hash?.update(Buffer.from(text))
      expect(hash?.digest()).toBe(digestOf(Buffer.from(`abc${text}`)))
    }
  })

  it('are not known elsewhere', async () => {
    const hashes = await kept()
    expect(await hashes.at({ ...session, offset: 2 }, SHA256)).toBeUndefined()
    expect(await hashes.at({ ...session, offset: 4 }, SHA256)).toBeUndefined()
    expect(await hashes.at(session, { ...SHA256, algorithm: 'sha512' })).toBeUndefined()
    expect(await hashes.at({ ...session, id: 'other' }, SHA256)).toBeUndefined()
    hashes.forget('id')
    expect(await hashes.at(session, SHA256)).toBeUndefined()
  })

  it('begin anew at the first byte', async () => {
    const hashes = await kept()
    const hash = await hashes.at({ ...session, offset: 0 }, { ...SHA256, algorithm: 'sha512' })
    expect(hash?.digest()).toBe(digestOf(Buffer.alloc(0), 'sha512'))
  })

  it('are written down for other processes when more chunks will follow', async () => {
    const expectsMore = { ...SHA256, expectsMore: true }
    const alone = await new UploadHashes().at({ ...session, offset: 0 }, expectsMore)
    expect(alone?.save()).toBeUndefined()

    const first = await new UploadHashes({ shared: true }).at(
      { ...session, offset: 0 },
      expectsMore,
    )
    first?.update(Buffer.from('abc'))
    const hashState = first?.save()
    const other = new UploadHashes({ shared: true })
    const next = await other.at({ ...session, hashState }, SHA256)
    next?.update(Buffer.from('d'))
    expect(next?.digest()).toBe(digestOf(Buffer.from('abcd')))
    expect(
      await other.at({ ...session, hashState }, { ...SHA256, algorithm: 'sha512' }),
    ).toBeUndefined()
  })
})

async function kept() {
  const hashes = new UploadHashes()
  const hash = (await hashes.at({ ...session, offset: 0 }, SHA256))!
  hash.update(Buffer.from('abc'))
  hashes.keep('id', hash)
  return hashes
}
