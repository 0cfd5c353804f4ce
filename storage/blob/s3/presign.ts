import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { LRUCache } from 'lru-cache'
import type { Location } from '../blob-store.ts'

/**
 * URLs of the same window are the same byte for byte, on every replica, so that what lies between
 * a client and the bucket may cache the answers.
 */
const WINDOW_MS = 5 * 60_000
const REMEMBERED = 10_000

export interface PresignOptions {
  readonly bucket: string
  readonly keyOf: (location: Location) => string
  /** How long a URL is good at least, in seconds. */
  readonly seconds: number
  /** The time at the bucket, whatever the clock here says, in milliseconds. */
  readonly now: () => number
}

/** Signs URLs by which a client fetches an object itself. */
export class Presigner {
  readonly #client: S3Client
  readonly #options: PresignOptions
  readonly #urls = new LRUCache<string, Promise<string>>({ max: REMEMBERED })

  constructor(client: S3Client, options: PresignOptions) {
    this.#client = client
    this.#options = options
  }

  urlOf(location: Location, contentType: string): Promise<string> {
    const windowMs = Math.floor(this.#options.now() / WINDOW_MS) * WINDOW_MS
    const name = `${windowMs} ${contentType} ${location}`
    const known = this.#urls.get(name)
    if (known !== undefined) return known
    const url = this.#sign(location, contentType, windowMs)
    this.#urls.set(name, url)
    // A failure, such as credentials that cannot be fetched, is not to be remembered.
    url.catch(() => this.#urls.delete(name))
    return url
  }

  #sign(location: Location, contentType: string, signedAtMs: number): Promise<string> {
    const { bucket, keyOf, seconds } = this.#options
    const get = new GetObjectCommand({
      Bucket: bucket,
      Key: keyOf(location),
      ResponseContentType: contentType,
    })
    return getSignedUrl(this.#client, get, {
      signingDate: new Date(signedAtMs),
      // The window may have begun long ago.
      expiresIn: seconds + WINDOW_MS / 1000,
    })
  }
}
