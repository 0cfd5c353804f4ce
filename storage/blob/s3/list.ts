import type { StoredItem, UploadState } from '../blob-store.ts'
import type { Multipart, S3Objects } from './objects.ts'
import { EVERY_KEY, sessionOf } from './upload-state.ts'

/**
 * Every object, which may be a blob or be of an upload, and then every multipart upload. Keys that
 * no store makes are left out.
 */
export async function* listObjects(objects: S3Objects): AsyncIterable<StoredItem> {
  for await (const { key: location, sizeBytes, modifiedAt } of objects.everyObject(EVERY_KEY)) {
    const session = sessionOf(location)
    if (session !== undefined) yield { kind: 'blob', location, session, sizeBytes, modifiedAt }
  }
  for await (const { startedAt: modifiedAt, ...multipart } of objects.everyMultipart(EVERY_KEY)) {
    const session = sessionOf(multipart.key)
    if (session === undefined) continue
    yield { kind: 'upload', session, sizeBytes: undefined, modifiedAt, state: { ...multipart } }
  }
}

/** Of what {@link listObjects} found. */
export function multipartOf(state: UploadState): Multipart {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a state comes back as it was given out
  return state as unknown as Multipart
}
