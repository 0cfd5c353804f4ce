import { readFileSync } from 'node:fs'
import { type Config, storageRoot } from '../config/config.ts'
import type { BlobStore } from '../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../storage/blob/filesystem.ts'
import type { S3Settings } from '../storage/blob/s3.ts'

export interface OpenedBlobStore {
  readonly store: BlobStore
  /** How far the clock of the storage is ahead, in seconds, as far as is known. */
  readonly clockAheadSeconds: (this: void) => number
  /** For a person, such as `bucket images at https://s3.example.com`. */
  readonly place: string
  close(this: void): void
}

/** The store that the configuration names: the only place where drivers are constructed. */
export async function openBlobStore(config: Config): Promise<OpenedBlobStore> {
  if (config['storage.type'] === 'filesystem') {
    const store = new FilesystemBlobStore(storageRoot(config))
    await store.open()
    return { store, clockAheadSeconds: () => 0, place: storageRoot(config), close: () => {} }
  }
  // The SDK is large: who keeps blobs in files does without it.
  const { S3BlobStore } = await import('../storage/blob/s3.ts')
  const settings = s3Settings(config)
  const store = new S3BlobStore(settings)
  const where = settings.endpoint ?? `AWS, ${settings.region}`
  return {
    store,
    clockAheadSeconds: () => store.clockAheadSeconds,
    place: `bucket ${settings.bucket} at ${where}`,
    close: () => store.close(),
  }
}

function s3Settings(config: Config): S3Settings {
  const { 'storage.s3.accessKeyId': accessKeyId, 'storage.s3.secretAccessKey': secretAccessKey } =
    config
  const endpoint = config['storage.s3.endpoint']
  const encryption = config['storage.s3.encryption']
  const ca = config['storage.s3.ca']
  return {
    endpoint,
    region: config['storage.s3.region'],
    bucket: config['storage.s3.bucket'] ?? '',
    prefix: config['storage.s3.prefix'],
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined
        ? undefined
        : { accessKeyId, secretAccessKey },
    pathStyle: config['storage.s3.pathStyle'] ?? endpoint !== undefined,
    encryption: encryption === 'none' ? undefined : encryption,
    kmsKey: config['storage.s3.kmsKey'],
    storageClass: config['storage.s3.storageClass'],
    checksums: config['storage.s3.checksums'],
    ca: ca === undefined ? undefined : readFileSync(ca, 'utf8'),
    sockets: config['storage.s3.sockets'],
    connectSeconds: config['storage.s3.connectSeconds'],
    idleSeconds: config['storage.s3.idleSeconds'],
    attempts: config['storage.s3.attempts'],
    partsInFlight: config['storage.s3.partsInFlight'],
    redirect: config['storage.s3.redirect']
      ? {
          endpoint: config['storage.s3.redirectEndpoint'],
          seconds: config['storage.s3.redirectSeconds'],
        }
      : undefined,
  }
}
