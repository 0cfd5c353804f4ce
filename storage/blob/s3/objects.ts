import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  type StorageClass,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { ByteRange, Location } from '../blob-store.ts'
import { createClient, type RedirectSettings, type S3Settings } from './client.ts'
import { closerOf } from './closing.ts'
import { asStorageFailure, isInvalid, isMissing, isUploadGone } from './failure.ts'
import { Presigner } from './presign.ts'
import { ServerClock } from './server-clock.ts'

/** A part that the server has, as it wants to be told of it at the end. */
export type Part = readonly [etag: string, bytes: number]

export interface Multipart {
  readonly key: Location
  readonly uploadId: string
}

export interface ListedObject {
  readonly key: Location
  readonly sizeBytes: number
  readonly modifiedAt: Date
}

export interface ListedMultipart extends Multipart {
  readonly startedAt: Date
}

export interface ObjectBody {
  readonly chunks: Readable
  readonly bytes: number
}

/** The most that S3 gives at once. */
const PAGE_KEYS = 1000

interface UploadMarkers {
  readonly KeyMarker?: string
  readonly UploadIdMarker?: string
}

/**
 * The requests that the store makes, one method each. Keys are below the prefix of the settings.
 * What they throw is what `BlobStore` may throw.
 */
export class S3Objects {
  readonly #writing: S3Client
  readonly #reading: S3Client
  readonly #settings: S3Settings
  readonly #closers: readonly (() => void)[]
  readonly clock = new ServerClock()

  constructor(settings: S3Settings) {
    this.#settings = settings
    this.#writing = createClient(settings, { sockets: settings.sockets })
    this.#reading = createClient(settings)
    this.#closers = [closerOf(this.#writing), closerOf(this.#reading)]
    this.clock.watch(this.#writing)
    this.clock.watch(this.#reading)
  }

  async put(key: Location, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const object = new PutObjectCommand({
      ...this.#at(key),
      ...this.#kept(),
      Body: bytes,
      ContentLength: bytes.length,
    })
    await orFailure(this.#writing.send(object, { ...(signal && { abortSignal: signal }) }))
  }

  /** Not to be broken off: what it made would not be known. */
  async startMultipart(key: Location): Promise<Multipart> {
    const create = new CreateMultipartUploadCommand({ ...this.#at(key), ...this.#kept() })
    const { UploadId: uploadId } = await orFailure(this.#writing.send(create))
    if (uploadId === undefined) throw new Error('the object storage gave no upload id')
    return { key, uploadId }
  }

  /** @throws UploadLost when the multipart upload is gone */
  async putPart(
    { key, uploadId }: Multipart,
    number: number,
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<Part> {
    const part = new UploadPartCommand({
      ...this.#at(key),
      UploadId: uploadId,
      PartNumber: number,
      Body: bytes,
      ContentLength: bytes.length,
    })
    const { ETag: etag } = await orFailure(this.#writing.send(part, { abortSignal: signal }))
    if (etag === undefined) throw new Error('the object storage gave no ETag for a part')
    return [etag, bytes.length]
  }

  /**
   * Makes one object of the parts. It may be done already, by a call whose answer was lost.
   *
   * @throws UploadLost when neither the multipart upload nor an object of its size is there
   */
  async complete(
    { key, uploadId }: Multipart,
    parts: readonly Part[],
    signal: AbortSignal,
  ): Promise<void> {
    const complete = new CompleteMultipartUploadCommand({
      ...this.#at(key),
      UploadId: uploadId,
      MultipartUpload: {
        Parts: parts.map(([etag], index) => ({ ETag: etag, PartNumber: index + 1 })),
      },
    })
    try {
      await this.#writing.send(complete, { abortSignal: signal })
    } catch (error) {
      if (signal.aborted) throw asStorageFailure(error)
      const bytes = parts.reduce((sum, [, partBytes]) => sum + partBytes, 0)
      if ((await this.size(key)) === bytes) return
      throw asStorageFailure(error)
    }
  }

  /** Safe to repeat. */
  async abortMultipart({ key, uploadId }: Multipart): Promise<void> {
    const abort = new AbortMultipartUploadCommand({ ...this.#at(key), UploadId: uploadId })
    try {
      await this.#writing.send(abort)
    } catch (error) {
      // Of one that was completed Swift says that it has no such key.
      if (!isUploadGone(error) && !isMissing(error)) throw asStorageFailure(error)
    }
  }

  /** In bytes; undefined when there is no such object. */
  async size(key: Location): Promise<number | undefined> {
    try {
      const head = await this.#writing.send(new HeadObjectCommand(this.#at(key)))
      return head.ContentLength
    } catch (error) {
      if (isMissing(error)) return undefined
      throw asStorageFailure(error)
    }
  }

  /**
   * The caller consumes or destroys the stream. Throws what the SDK does: `read.ts` tells the
   * cases apart.
   */
  async get(
    key: Location,
    range: ByteRange | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ObjectBody> {
    const get = new GetObjectCommand({
      ...this.#at(key),
      ...(range && { Range: `bytes=${range.first}-${range.last}` }),
    })
    const { Body: body, ContentLength: bytes = 0 } = await this.#reading.send(get, {
      ...(signal && { abortSignal: signal }),
    })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the SDK gives on Node
    return { chunks: body as Readable, bytes }
  }

  /** Safe to repeat. */
  async delete(key: Location): Promise<void> {
    try {
      await this.#writing.send(new DeleteObjectCommand(this.#at(key)))
    } catch (error) {
      if (!isMissing(error)) throw asStorageFailure(error)
    }
  }

  /** Objects whose keys begin with `prefix`, the first thousand. */
  async list(prefix: Location): Promise<Location[]> {
    const list = new ListObjectsV2Command({
      Bucket: this.#settings.bucket,
      Prefix: this.#keyOf(prefix),
    })
    const { Contents: objects = [] } = await orFailure(this.#writing.send(list))
    return objects.map(({ Key: key = '' }) => this.#below(key))
  }

  /** Multipart uploads under way whose keys begin with `prefix`, the first thousand. */
  async listMultiparts(prefix: Location): Promise<Multipart[]> {
    const list = new ListMultipartUploadsCommand({
      Bucket: this.#settings.bucket,
      Prefix: this.#keyOf(prefix),
    })
    const { Uploads: uploads = [] } = await orFailure(this.#writing.send(list))
    return uploads.map(({ Key: key = '', UploadId: uploadId = '' }) => ({
      key: this.#below(key),
      uploadId,
    }))
  }

  /** All objects whose keys begin with `prefix`, `pageKeys` with each request. */
  async *everyObject(prefix: Location, pageKeys = PAGE_KEYS): AsyncIterable<ListedObject> {
    let token: string | undefined
    do {
      const list = new ListObjectsV2Command({
        Bucket: this.#settings.bucket,
        Prefix: this.#keyOf(prefix),
        MaxKeys: pageKeys,
        ...(token !== undefined && { ContinuationToken: token }),
      })
      const page = await orFailure(this.#writing.send(list))
      for (const { Key: key = '', Size: sizeBytes = 0, LastModified } of page.Contents ?? []) {
        // One without a time is never old.
        yield { key: this.#below(key), sizeBytes, modifiedAt: LastModified ?? new Date() }
      }
      token = page.NextContinuationToken
    } while (token !== undefined)
  }

  /** All multipart uploads under way whose keys begin with `prefix`, `pageKeys` with each request. */
  async *everyMultipart(prefix: Location, pageKeys = PAGE_KEYS): AsyncIterable<ListedMultipart> {
    let after: UploadMarkers | undefined
    do {
      const page = await this.#pageOfMultiparts(prefix, pageKeys, after)
      for (const { Key: key = '', UploadId: uploadId = '', Initiated } of page.Uploads ?? []) {
        yield { key: this.#below(key), uploadId, startedAt: Initiated ?? new Date() }
      }
      const { IsTruncated: more, NextKeyMarker: key, NextUploadIdMarker: id } = page
      after = undefined
      if (more === true && key) after = { KeyMarker: key, ...(id && { UploadIdMarker: id }) }
    } while (after !== undefined)
  }

  async #pageOfMultiparts(prefix: Location, pageKeys: number, after: UploadMarkers = {}) {
    const ask = (markers: UploadMarkers) =>
      this.#writing.send(
        new ListMultipartUploadsCommand({
          Bucket: this.#settings.bucket,
          Prefix: this.#keyOf(prefix),
          MaxUploads: pageKeys,
          ...markers,
        }),
      )
    const { UploadIdMarker: id, ...byKey } = after
    if (id === undefined) return orFailure(ask(byKey))
    // Versity's gateway refuses the marker that it gave; no key has two uploads, so it can do without.
    const asked = ask(after).catch((error: unknown) => {
      if (isInvalid(error)) return ask(byKey)
      throw error
    })
    return orFailure(asked)
  }

  /** For clients that reach the bucket at `endpoint`, or as the server does. */
  presigner({ endpoint, seconds }: RedirectSettings): Presigner {
    return new Presigner(createClient(this.#settings, { endpoint }), {
      bucket: this.#settings.bucket,
      keyOf: (location) => this.#keyOf(location),
      seconds,
      now: () => this.clock.now(),
    })
  }

  /** Ends what is under way. */
  close(): void {
    for (const close of this.#closers) close()
  }

  #at(key: Location) {
    return { Bucket: this.#settings.bucket, Key: this.#keyOf(key) }
  }

  /** How objects are to be kept. */
  #kept() {
    const { encryption, kmsKey, storageClass } = this.#settings
    return {
      ...(encryption && { ServerSideEncryption: encryption }),
      ...(kmsKey && { SSEKMSKeyId: kmsKey }),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- not every class is in the SDK's list
      ...(storageClass && { StorageClass: storageClass as StorageClass }),
    }
  }

  #keyOf(key: Location): string {
    const { prefix } = this.#settings
    return prefix === '' ? key : `${prefix}/${key}`
  }

  #below(key: string): Location {
    return key.slice(this.#keyOf('').length)
  }
}

async function orFailure<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw asStorageFailure(error)
  }
}
