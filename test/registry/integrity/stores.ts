import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, onTestFinished } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import type { Location } from '../../../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../../../storage/blob/filesystem.ts'
import { S3BlobStore } from '../../../storage/blob/s3.ts'
import { countOpenFiles } from '../../support/open-handles.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { describeWithS3 } from '../../support/s3.ts'
import { openS3Store } from '../../support/s3-store.ts'
import { storageOf } from '../../support/storage.ts'

/** A registry of a test, and what can be done to its blobs behind it. */
export interface DamagedRegistry extends TestRegistry {
  readonly driver: 'files' | 's3'
  /** Where blobs lie, with files. */
  readonly folder: string
  overwrite(this: void, location: Location, bytes: Buffer): Promise<void>
  /** The same store, of which nothing is there any more: not mounted, no such bucket. */
  readonly away: TestRegistry['registry']['blobs']
}

export type OpenDamaged = (this: void) => Promise<DamagedRegistry>

/** Runs the suite over both drivers. `open` gives a registry that is closed when the test ends. */
export function describeOnEachDriver(name: string, body: (open: OpenDamaged) => void): void {
  describe(`${name}, with files`, () => {
    body(() => ending(openOnFiles()))
  })
  describeWithS3(`${name}, with S3`, () => {
    body(() => ending(openOnS3()))
  })
}

async function ending(opening: Promise<DamagedRegistry>): Promise<DamagedRegistry> {
  const opened = await opening
  onTestFinished(opened.close)
  return opened
}

async function openOnFiles(): Promise<DamagedRegistry> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-integrity-'))
  const blobs = new FilesystemBlobStore(folder)
  await blobs.open()
  const storage = {
    blobs,
    lose: (location: Location) => rm(path.join(folder, location)),
    shorten: (location: Location, bytes: number) => truncate(path.join(folder, location), bytes),
    openHandles: () => countOpenFiles(folder),
    close: () => rm(folder, { recursive: true, force: true }),
  }
  const test = await openTestRegistry({ storage })
  return {
    ...test,
    driver: 'files',
    folder,
    overwrite: (location, bytes) => writeFile(path.join(folder, location), bytes),
    away: new FilesystemBlobStore(path.join(folder, 'not-mounted')),
  }
}

async function openOnS3(): Promise<DamagedRegistry> {
  const opened = openS3Store()
  const test = await openTestRegistry({ storage: storageOf(opened) })
  const away = new S3BlobStore({ ...opened.settings, bucket: 'slipway-no-such-bucket' })
  return {
    ...test,
    driver: 's3',
    folder: '',
    overwrite: (location, bytes) => opened.objects.put(location, bytes),
    away,
    close: async () => {
      away.close()
      await test.close()
    },
  }
}

/** The row of a blob. */
export async function rowOf({ registry }: Pick<TestRegistry, 'registry'>, digest: Digest) {
  const { rows } = await registry.db.query<{
    state: string
    problem: string | null
    location: string
    isFresh: boolean
  }>(
    `select state, problem, location, verified_at > now() - interval '1 hour' as "isFresh"
     from blobs where digest = $1`,
    [digest],
  )
  return rows[0]
}

/** The same bytes but for one bit. */
export function flipped(content: Buffer): Buffer {
  const other = Buffer.from(content)
  other[other.length >> 1]! ^= 1
  return other
}
