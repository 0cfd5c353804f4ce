import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { OnClose } from './folder.ts'
import { plainSetup, type S3Place, type Setup } from './peers/peer.ts'
import { startS3Server } from './peers/s3-server.ts'

interface NamedSetup {
  /** For the reader. */
  readonly title: string
  /** What is not as it is by itself. */
  readonly changed: Partial<Setup>
  readonly inBucket?: boolean
}

/** By the names that `--setup` takes. */
export const setups: ReadonlyMap<string, NamedSetup> = new Map([
  ['default', { title: 'as installed: embedded Postgres, files, one process', changed: {} }],
  ['token', { title: 'with a token in each request', changed: { auth: 'token' } }],
  ['external', { title: 'on a Postgres of its own', changed: { database: 'external' } }],
  ['workers', { title: 'two workers', changed: { workers: 2 } }],
  ['s3', { title: 'blobs in S3 (RGW)', changed: {}, inBucket: true }],
])

/**
 * Makes ready what a setup needs. What was started ends by what `onClose` is given.
 *
 * @throws Error when an S3 server is needed and cannot be started
 */
export async function openSetup(
  { changed, inBucket = false }: NamedSetup,
  directory: string,
  onClose: OnClose,
): Promise<Setup> {
  return {
    ...plainSetup,
    ...changed,
    ...(inBucket && { storage: await openBucket(directory, onClose) }),
  }
}

async function openBucket(directory: string, onClose: OnClose): Promise<S3Place> {
  await mkdir(directory, { recursive: true })
  const { place } = await startS3Server('rgw', path.join(directory, 's3'), onClose)
  return place
}
