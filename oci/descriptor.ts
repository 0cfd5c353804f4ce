import { type Digest, parseDescriptorDigest } from './digest.ts'
import { RegistryError } from './errors.ts'

/** What a manifest says of another piece of content. Image spec, "OCI Content Descriptors". */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
}

/** String values only: the image spec allows no others. */
export type Annotations = Readonly<Record<string, string>>

/**
 * @param field where the value stands, for the message
 * @throws RegistryError MANIFEST_INVALID, DIGEST_INVALID
 */
export function parseDescriptor(value: unknown, field: string): Descriptor {
  if (!isObject(value)) throw invalid(`${field} is not an object`)
  const { mediaType, digest, size } = value
  if (typeof digest !== 'string') throw invalid(`${field}.digest is not a string`)
  if (!Number.isSafeInteger(size) || (size as number) < 0) {
    throw invalid(`${field}.size is not a number of bytes`)
  }
  if (mediaType !== undefined && typeof mediaType !== 'string') {
    throw invalid(`${field}.mediaType is not a string`)
  }
  return {
    mediaType: mediaType ?? '',
    digest: parseDescriptorDigest(digest),
    sizeBytes: size as number,
  }
}

/** @throws RegistryError MANIFEST_INVALID, DIGEST_INVALID */
export function parseDescriptors(value: unknown, field: string): Descriptor[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalid(`${field} is not an array`)
  return value.map((item, index) => parseDescriptor(item, `${field}[${index}]`))
}

/**
 * Undefined when there are none. Values that are no strings are left out, as older tools write them.
 *
 * @throws RegistryError MANIFEST_INVALID
 */
export function parseAnnotations(value: unknown): Annotations | undefined {
  if (!isObject(value)) return undefined
  const entries = Object.entries(value).filter((entry): entry is [string, string] => {
    return typeof entry[1] === 'string'
  })
  for (const text of entries.flat()) requireText(text, 'annotations')
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

const HALF_CHARACTER = /\p{Cs}/u

/**
 * JSON can write what no database keeps and no client shows: NUL, and halves of a character.
 *
 * @throws RegistryError MANIFEST_INVALID
 */
export function requireText(text: string, field: string): void {
  if (text.includes('\0') || HALF_CHARACTER.test(text)) {
    throw invalid(`${field} has characters that are no text`)
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function invalid(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', reason, { cause })
}
