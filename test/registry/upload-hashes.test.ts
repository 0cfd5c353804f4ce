import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { RunningHash, UploadHashes } from '../../registry/upload-hashes.ts'

describe('a running hash', () => {
  it.each(['sha256', 'sha512'] as const)('of %s can be asked at any moment', (algorithm) => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (chunks) => {
        const hash = new RunningHash(algorithm)
        for (const [index, chunk] of chunks.entries()) {
          hash.update(chunk)
          const content = Buffer.concat(chunks.slice(0, index + 1))
          expect(hash.digest()).toBe(digestOf(content, algorithm))
          expect(hash.offset).toBe(content.length)
        }
      }),
    )
  })

  it('is not changed by its copy', () => {
    const hash = new RunningHash('sha256')
    hash.update(Buffer.from('a'))
    hash.copy().update(Buffer.from('b'))
    expect(hash.digest()).toBe(digestOf(Buffer.from('a')))
    expect(hash.offset).toBe(1)
  })
})

describe('the hashes of uploads', () => {
  it('go on where they were kept, again and again', () => {
    const hashes = kept()
    for (const text of ['d', 'e']) {
      const hash = hashes.at('id', 3, 'sha256')
      hash?.update(Buffer.from(text))
      expect(hash?.digest()).toBe(digestOf(Buffer.from(`abc${text}`)))
    }
  })

  it('are not known elsewhere', () => {
    const hashes = kept()
    expect(hashes.at('id', 2, 'sha256')).toBeUndefined()
    expect(hashes.at('id', 4, 'sha256')).toBeUndefined()
    expect(hashes.at('id', 3, 'sha512')).toBeUndefined()
    expect(hashes.at('other', 3, 'sha256')).toBeUndefined()
    hashes.forget('id')
    expect(hashes.at('id', 3, 'sha256')).toBeUndefined()
  })

  it('begin anew at the first byte', () => {
    expect(kept().at('id', 0, 'sha512')?.digest()).toBe(digestOf(Buffer.alloc(0), 'sha512'))
  })
})

function kept() {
  const hashes = new UploadHashes()
  const hash = hashes.at('id', 0, 'sha256')!
  hash.update(Buffer.from('abc'))
  hashes.keep('id', hash)
  return hashes
}
