import { randomBytes, randomUUID } from 'node:crypto'
import { digestOf } from '../../oci/digest.ts'
import type { BlobStore, ByteRange, Location } from './blob-store.ts'

/** More than the least that an object storage takes as a part of an upload. */
const BYTES = 5 * 2 ** 20 + 1

/**
 * Does with a few bytes what pushes, pulls and sweeps do, so that a right that is lacking shows
 * before it is needed. Leaves nothing behind.
 *
 * @param onStep called after each step with what was done, such as `read a range of it`
 * @throws what the step met that failed
 */
export async function rehearse(store: BlobStore, onStep: (done: string) => void): Promise<void> {
  const content = randomBytes(BYTES)
  const begun = { offset: 0, state: store.startUpload(randomUUID()) }
  const writer = await store.appendUpload(begun, { expectsMore: true })
  let location: Location | undefined
  try {
    await writer.write(content)
    const upload = await store.sealUpload(await writer.finish())
    onStep('uploaded an object in parts')
    location = await store.commitUpload(upload, digestOf(content))
    await expectSame(store, location, { first: 0, last: BYTES - 1 }, content)
    onStep('read it back')
    await expectSame(store, location, { first: BYTES - 3, last: BYTES - 2 }, content)
    onStep('read a range of it')
  } finally {
    await writer.discard()
    if (location !== undefined) await store.delete(location)
  }
  onStep('deleted it')
  await store.sweepUpload(begun.state)
  for await (const _ of store.list()) break // the first page is enough to know that it may be asked for
  onStep('looked for leftovers')
}

async function expectSame(
  store: BlobStore,
  location: Location,
  range: ByteRange,
  content: Buffer,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of store.read(location, range)) chunks.push(Buffer.from(chunk))
  const expected = content.subarray(range.first, range.last + 1)
  if (!Buffer.concat(chunks).equals(expected)) throw new Error('other bytes were read than written')
}
