import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'

export interface Content {
  readonly digest: string
  readonly bytes: Buffer
}

export interface ContentFile {
  readonly digest: string
  readonly sizeBytes: number
  readonly file: string
}

export function contentOf(bytes: Buffer): Content {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` }
}

/** Writes `sizeBytes` bytes that no other call has written, a whole number of MiB. */
export async function writeUniqueFile(file: string, sizeBytes: number): Promise<ContentFile> {
  const hash = createHash('sha256')
  // A key stream is as unique as random bytes, and several times as fast to make.
  const stream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(1024 * 1024)
  const handle = await open(file, 'w')
  try {
    for (let written = 0; written < sizeBytes; written += zeros.length) {
      const block = stream.update(zeros)
      hash.update(block)
      await handle.write(block)
    }
  } finally {
    await handle.close()
  }
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes, file }
}

/** An image config of about 1 KiB that is like no other. */
export function uniqueConfig(): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      comment: randomBytes(480).toString('hex'),
    }),
  )
}
