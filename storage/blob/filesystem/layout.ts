import {
  type Digest,
  type DigestAlgorithm,
  formatDigest,
  splitDigest,
} from '../../../oci/digest.ts'
import type { Location } from '../blob-store.ts'

/** Below the root, as are all paths here. */
export const UPLOADS = 'uploads'
const VOLUME = 'docker/registry/v2'
export const BLOBS = `${VOLUME}/blobs`
/** Where registry:2 keeps what it knows of repositories; nothing here ever makes it. */
export const REPOSITORIES = `${VOLUME}/repositories`

const HEX_DIGITS: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }

export function locationOf(digest: Digest): Location {
  const { algorithm, hex } = splitDigest(digest)
  return `${BLOBS}/${algorithm}/${hex.slice(0, 2)}/${hex}/data`
}

/** The digest of which `folder` holds the bytes; undefined when it is none of the layout. */
export function digestOfFolder(algorithm: DigestAlgorithm, folder: string): Digest | undefined {
  const isHex = folder.length === HEX_DIGITS[algorithm] && /^[0-9a-f]+$/.test(folder)
  return isHex ? formatDigest(algorithm, folder) : undefined
}
