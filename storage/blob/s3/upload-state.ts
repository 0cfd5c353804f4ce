import { randomBytes } from 'node:crypto'
import type { Location, UploadState } from '../blob-store.ts'

/**
 * What the session remembers of an upload. Without a key all its bytes are in its tail; with a
 * key and no multipart upload the object is whole.
 */
export interface S3Upload {
  readonly id: string
  readonly key?: Location
  readonly multipart?: {
    readonly uploadId: string
    /** The size of the first parts in bytes; those of all others follow from it. */
    readonly firstBytes: number
    readonly parts: readonly (readonly [etag: string, bytes: number])[]
  }
}

export function uploadOf(state: UploadState): S3Upload {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a state comes back as it was given out
  return state as unknown as S3Upload
}

/** What all keys begin with. */
export const EVERY_KEY = 'blobs/'

const KEY = /^blobs\/[0-9a-f]{2}\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[0-9a-f]{16}$/

/** The upload that a key is of; undefined for one that {@link newKey} does not make. */
export function sessionOf(key: Location): string | undefined {
  return KEY.exec(key)?.[1]
}

/** What all keys of one upload begin with. The first digits of a random id spread the load. */
export function keysOf(id: string): Location {
  return `${EVERY_KEY}${id.slice(0, 2)}/${id}-`
}

/** A key that nothing else ever uses, whatever other processes do with the same upload. */
export function newKey(id: string): Location {
  return keysOf(id) + randomBytes(8).toString('hex')
}
