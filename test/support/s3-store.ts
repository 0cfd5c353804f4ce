import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { S3Objects } from '../../storage/blob/s3/objects.ts'
import { S3BlobStore, type S3Settings } from '../../storage/blob/s3.ts'
import { s3Backend } from './s3.ts'

/** Settings for a prefix of its own in the bucket of the tests. */
function s3Settings(change: Partial<S3Settings> = {}): S3Settings {
  const backend = s3Backend()
  assert(backend !== undefined, 'SLIPWAY_TEST_S3 is not set')
  const { endpoint, bucket, accessKeyId, secretAccessKey } = backend
  return {
    endpoint,
    bucket,
    credentials: { accessKeyId, secretAccessKey },
    prefix: `test-${randomUUID()}`,
    region: 'us-east-1',
    pathStyle: true,
    encryption: undefined,
    kmsKey: undefined,
    storageClass: undefined,
    checksums: 'required',
    ca: undefined,
    sockets: 100,
    connectSeconds: 3,
    idleSeconds: 30,
    attempts: 6,
    partsInFlight: 8,
    redirect: undefined,
    ...change,
  }
}

export interface OpenedS3Store {
  readonly store: S3BlobStore
  readonly settings: S3Settings
  /** The same bucket and prefix by plain requests, past the store and any proxy. */
  readonly objects: S3Objects
  /** Keys of objects, and of multipart uploads under way, below the prefix. */
  contents(this: void): Promise<{ objects: string[]; multiparts: string[] }>
  /** Removes whatever is there. */
  close(this: void): Promise<void>
}

export function openS3Store(change: Partial<S3Settings> = {}): OpenedS3Store {
  const settings = s3Settings(change)
  const store = new S3BlobStore(settings)
  const objects = new S3Objects(s3Settings({ prefix: settings.prefix }))
  const contents = async () => ({
    objects: await objects.list(''),
    multiparts: (await objects.listMultiparts('')).map(({ key }) => key),
  })
  return {
    store,
    settings,
    objects,
    contents,
    close: async () => {
      for (const multipart of await objects.listMultiparts('')) {
        await objects.abortMultipart(multipart)
      }
      for (const key of await objects.list('')) await objects.delete(key)
      objects.close()
      store.close()
    },
  }
}
