import { type Digest, splitDigest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { type Manifest, parseManifest } from '../../oci/manifest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Transaction } from '../../storage/metadata/database.ts'
import { lockContent } from '../../storage/metadata/manifests.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import {
  findWithDescendants,
  linkAgain,
  lockManifests,
  type RestorableManifest,
  undeleteManifests,
} from '../../storage/metadata/restoring.ts'
import { hasNamed } from '../../storage/metadata/tag-history.ts'
import { judge } from '../garbage/judge.ts'
import type { Registry } from '../registry.ts'
import type { Revoking } from '../revocation.ts'

/** What it takes to restore something, which commands have as well. */
export type Restoring = Revoking & Pick<Registry, 'keeping' | 'faultPoint'>

export interface Restored {
  /** Row id of the manifest that was asked for. */
  readonly id: string
  /** How many manifests came back, of those that it brought with it as well. */
  readonly count: number
}

interface Wanted {
  readonly repositoryId: RepositoryId
  readonly repository: RepositoryName
  readonly digest: Digest
}

/** Somebody pushes the same meanwhile; it is looked at as often. */
const ROUNDS = 3
/** A link that goes while it is looked at is made once more. */
const LINK_ROUNDS = 2

/**
 * Within a repository that is locked: the manifest is there again with all that it needs to be pulled,
 * and what referred to it.
 *
 * @throws RegistryError MANIFEST_UNKNOWN when it never was there, or the time to restore it is over,
 *   MANIFEST_BLOB_UNKNOWN with status 409 when something that it needs is damaged or gone
 */
export async function restoreContent(
  tx: Transaction,
  { keeping, faultPoint }: Restoring,
  wanted: Wanted,
): Promise<Restored> {
  const { repositoryId, digest } = wanted
  const { manifests, missing } = await lockAll(tx, wanted)
  const root = manifests.find((manifest) => manifest.digest === digest)
  if (root === undefined) throw await unknown(tx, wanted)
  if (root.isDeleted) {
    const [judged] = await judge(tx, keeping, [root.id])
    if (judged === undefined || judged.keeping === 0) throw isOver(wanted)
  }
  if (missing.length > 0) {
    const details = missing.map((each) => `${each} is damaged or gone: push it again`)
    throw new RegistryError('MANIFEST_BLOB_UNKNOWN', details, { status: 409 })
  }
  await faultPoint('manifest locked')
  const deleted = manifests.filter(({ isDeleted }) => isDeleted).map(({ id }) => id)
  await undeleteManifests(tx, repositoryId, deleted)
  return { id: root.id, count: deleted.length }
}

interface Locked {
  readonly manifests: readonly RestorableManifest[]
  /** What they need and the repository cannot serve. */
  readonly missing: readonly Digest[]
}

/** Locks blobs before manifests, as everybody does: which blobs is known for sure only afterwards. */
async function lockAll(tx: Transaction, { repositoryId, digest }: Wanted): Promise<Locked> {
  for (let round = 0; round < ROUNDS; round++) {
    const seen = await findWithDescendants(tx, repositoryId, digest)
    const blobs = [...new Set(seen.flatMap(requiredBlobs))].toSorted()
    const missing = await link(tx, repositoryId, blobs)
    await lockManifests(
      tx,
      seen.map(({ id }) => id),
    )
    // A statement of its own: it sees what was committed while the locks were waited for.
    const manifests = await findWithDescendants(tx, repositoryId, digest)
    if (keyOf(manifests) !== keyOf(seen)) continue
    return { manifests, missing: [...missing, ...manifests.flatMap(({ absent }) => absent)] }
  }
  throw new RegistryError('UNAVAILABLE', `${digest} is being changed`)
}

function keyOf(manifests: readonly RestorableManifest[]): string {
  return JSON.stringify(manifests.map(({ id, isDeleted, blobs }) => [id, isDeleted, blobs]))
}

/** Makes the repository serve the blobs, until the transaction ends at least. @returns those it cannot */
async function link(
  tx: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Digest[]> {
  let missing = [...digests]
  for (let round = 0; round < LINK_ROUNDS && missing.length > 0; round++) {
    await linkAgain(tx, repositoryId, missing)
    const locked = await lockContent(tx, repositoryId, missing, [])
    missing = missing.filter((digest) => !locked.blobs.has(digest))
  }
  return missing
}

/**
 * The blobs that the repository had to have when the manifest was pushed. Of layers that may be
 * elsewhere it need not have had any: they are not linked, as others may have pushed them.
 */
function requiredBlobs(manifest: RestorableManifest): Digest[] {
  const { blobs, children } = parse(manifest)
  const required = new Set([...blobs, ...children].map(({ digest }) => digest))
  return manifest.blobs.filter((digest) => required.has(digest))
}

function parse({ bytes, mediaType, digest }: RestorableManifest): Manifest {
  return parseManifest(bytes, mediaType, splitDigest(digest).algorithm)
}

async function unknown(tx: Transaction, wanted: Wanted): Promise<RegistryError> {
  const { repositoryId, repository, digest } = wanted
  if (await hasNamed(tx, repositoryId, digest)) return isOver(wanted)
  const why = 'it never was there, or had no tag and was collected'
  return new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}: ${why}`)
}

function isOver({ repository, digest }: Wanted): RegistryError {
  const why = 'the time in which it could be restored is over'
  return new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}: ${why}`)
}
