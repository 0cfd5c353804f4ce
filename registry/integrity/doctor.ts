/* What database and storage say of each other, and what can be done where they differ. */
import pLimit from 'p-limit'
import type { Digest } from '../../oci/digest.ts'
import type { StoredItem } from '../../storage/blob/blob-store.ts'
import {
  type BlobRow,
  checkManifests,
  isUnchanged,
  listBlobRows,
  markVerified,
} from '../../storage/metadata/integrity.ts'
import type { Registry } from '../registry.ts'
import type { Revoking } from '../revocation.ts'
import { quarantine, release } from './quarantine.ts'
import { type Looked, lookAtStored, removeStored } from './stored-bytes.ts'
import { Throttle } from './throttle.ts'
import { GONE, otherSize, requireOthers, requireStorage, verifyBlob } from './verify.ts'

/** What is wrong with one thing. */
export interface Finding {
  readonly kind: FindingKind
  readonly digest?: Digest
  /** Where its bytes lie, or the repository of a manifest. */
  readonly where: string
  readonly sizeBytes: number
  readonly problem: string
  readonly isRepaired: boolean
}

export type FindingKind =
  /** A blob without bytes, with fewer or more, or, where it was read, with others. */
  | 'missing'
  | 'size'
  | 'content'
  /** One that was found to be so before, and that nobody has brought again. */
  | 'quarantined'
  /** The bytes of a manifest, in the database. */
  | 'manifest'
  /** Bytes that no row names, of a blob or of an upload. */
  | 'orphan'
  | 'upload'
  /** No fault: a blob whose bytes are being deleted. */
  | 'deleting'
  /** No fault, and never repaired: what may be another's. */
  | 'foreign'

export interface DoctorOptions {
  readonly repair: boolean
  /** Whether every blob is read as well, and how fast at most. */
  readonly deep: boolean
  readonly bytesPerSecond: number
  /** Of bytes that no row names: younger ones are left out. */
  readonly olderThanSeconds: number
  /** Whether a storage without any blob is believed, and not taken for one that is away. */
  readonly mayBeEmpty: boolean
  readonly signal?: AbortSignal | undefined
}

/** What the doctor works on, which a command has as well. */
export type Patient = Revoking & Pick<Registry, 'db' | 'blobs' | 'log'>

const PAGE = 500
const MANIFEST_PAGE = 100
/** Questions to the storage at a time. */
const AT_ONCE = 16

/**
 * Everything that differs, found while servers go on. With `repair` a blob whose bytes are bad is
 * quarantined, one whose bytes turn out to be right is released, and what no row names is removed.
 * What changes while it is looked at is not found.
 *
 * @throws StorageUnavailable, what the database throws, and the signal's reason
 */
export async function* diagnose(patient: Patient, options: DoctorOptions): AsyncGenerator<Finding> {
  await requireStorage(patient)
  yield* checkBlobs(patient, options)
  yield* checkStored(patient, options)
  yield* checkAllManifests(patient, options)
}

async function* checkBlobs(patient: Patient, options: DoctorOptions): AsyncGenerator<Finding> {
  const throttle = new Throttle(options.bytesPerSecond)
  const limit = pLimit(options.deep ? 1 : AT_ONCE)
  for (let after: string | undefined = ''; after !== undefined; ) {
    options.signal?.throwIfAborted()
    const rows = await listBlobRows(patient.db, { after, limit: PAGE })
    const looks = rows.map((row) => limit(() => checkBlob(patient, row, { ...options, throttle })))
    const found = (await Promise.all(looks)).filter((each) => each !== undefined)
    const isMissing = found.some(({ kind }) => kind === 'missing')
    if (isMissing && !options.mayBeEmpty) await requireOthers(patient)
    yield* settle(patient, found, options)
    after = rows.at(-1)?.digest
  }
}

type Suspect = Pick<Finding, 'kind' | 'problem' | 'isRepaired'> & { readonly blob: BlobRow }

async function checkBlob(
  patient: Patient,
  blob: BlobRow,
  options: DoctorOptions & { readonly throttle: Throttle },
): Promise<Suspect | undefined> {
  const { repair, deep } = options
  const suspect = (kind: FindingKind, problem: string) => ({
    kind,
    blob,
    problem,
    isRepaired: false,
  })
  if (blob.state === 'deleting') return suspect('deleting', 'its bytes are being deleted')
  if (blob.state === 'quarantined') {
    const isRepaired = repair && (await heal(patient, blob, options))
    return { ...suspect('quarantined', blob.problem ?? ''), isRepaired }
  }
  const bytes = await patient.blobs.size(blob.location)
  if (bytes === undefined) return suspect('missing', GONE)
  if (bytes !== blob.sizeBytes) return suspect('size', otherSize(bytes, blob.sizeBytes))
  if (!deep) return undefined
  const problem = await verifyBlob(patient, blob, options)
  if (problem !== undefined) return suspect('content', problem)
  await markVerified(patient.db, blob)
  return undefined
}

/** Somebody may have brought the bytes back behind our back, as a mount or a backup does. */
async function heal(
  patient: Patient,
  blob: BlobRow,
  options: Parameters<typeof verifyBlob>[2],
): Promise<boolean> {
  if ((await patient.blobs.size(blob.location)) !== blob.sizeBytes) return false
  if ((await verifyBlob(patient, blob, options)) !== undefined) return false
  return release(patient, blob)
}

/** Looks again at live blobs, and quarantines them where that is asked for. */
async function* settle(
  patient: Patient,
  found: readonly Suspect[],
  { repair }: DoctorOptions,
): AsyncGenerator<Finding> {
  const bad = found.filter(({ blob }) => blob.state === 'live')
  const quarantined = new Set(repair && bad.length > 0 ? await quarantine(patient, bad) : [])
  for (const each of found) {
    const { blob, kind, problem } = each
    const { digest, location: where, sizeBytes } = blob
    const isRepaired = each.isRepaired || quarantined.has(each)
    if (blob.state === 'live' && !isRepaired && !(await isUnchanged(patient.db, blob))) continue
    yield { kind, digest, where, sizeBytes, problem, isRepaired }
  }
}

async function* checkStored(
  patient: Patient,
  { repair, olderThanSeconds, signal }: DoctorOptions,
): AsyncGenerator<Finding> {
  for await (const looked of lookAtStored(patient, { olderThanSeconds, signal })) {
    if (looked.is === 'named') continue
    const removes = repair && looked.is === 'nobodys'
    const isRepaired = removes && (await removeStored(patient, looked.item))
    // Asked to remove it, it turned out to be somebody's.
    if (isRepaired === removes) yield { ...findingOf(looked), isRepaired }
  }
}

function findingOf({ item, is }: Looked): Omit<Finding, 'isRepaired'> {
  const kind = is === 'foreign' ? is : item.kind === 'blob' ? 'orphan' : 'upload'
  return {
    kind,
    ...(item.kind === 'blob' && item.digest !== undefined && { digest: item.digest }),
    where: item.kind === 'blob' ? item.location : item.session,
    sizeBytes: item.sizeBytes ?? 0,
    problem: `${PROBLEMS[kind]}, since ${since(item)}`,
  }
}

const PROBLEMS = {
  orphan: 'no row names it',
  upload: 'its upload is over',
  foreign: 'no row names it, and it may be another program’s',
}

function since({ modifiedAt }: StoredItem): string {
  return `${modifiedAt.toISOString().slice(0, 19)}Z`
}

async function* checkAllManifests(
  { db }: Patient,
  { signal }: DoctorOptions,
): AsyncGenerator<Finding> {
  for (let after: string | undefined = '0'; after !== undefined; ) {
    signal?.throwIfAborted()
    const page = await checkManifests(db, { after, limit: MANIFEST_PAGE })
    for (const { digest, repository, sizeBytes, isWhole } of page) {
      if (isWhole) continue
      const problem = 'its bytes in the database have another digest'
      yield {
        kind: 'manifest',
        digest,
        where: repository ?? '',
        sizeBytes,
        problem,
        isRepaired: false,
      }
    }
    after = page.at(-1)?.id
  }
}
