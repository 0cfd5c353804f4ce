/** The loads that run in a process of their own. Each is prepared first, then run once. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection, frameChunk, lastChunk, requestHead } from './connection.ts'
import { uniqueConfig } from './content.ts'
import { type HeadsJob, prepareHeads } from './heads.ts'
import { type PullsJob, type PullTimes, preparePulls } from './pulls.ts'
import {
  beginUpload,
  expectStatus,
  locationOf,
  mountBlob,
  type PreparedImage,
  prepareBlob,
  prepareImage,
  pushBlob,
  pushImage,
  putManifest,
} from './push.ts'
import type { Rate } from './rate.ts'
import { authorizationFor, type Server } from './server.ts'

interface BlobsJob extends Server {
  readonly kind: 'blobs'
  readonly repository: string
  /** Uploads at once, one blob each. */
  readonly count: number
  readonly sizeBytes: number
}

export interface ImagesJob extends Server {
  readonly kind: 'images'
  /** Images are tagged `image-<n>` for n from 0, in turn in `<prefix>-<m>` for m below this. */
  readonly repositories: number
  readonly prefix: string
  readonly count: number
  readonly layers: number
  readonly concurrency: number
}

export interface SlowUploadsJob extends Server {
  readonly kind: 'slow uploads'
  readonly repository: string
  readonly count: number
  readonly chunkBytes: number
  readonly everyMs: number
  readonly seconds: number
}

interface ListingsJob extends Server {
  readonly kind: 'listings'
  /** Gets `tags` tags of one image, `tag-00000` and so on. */
  readonly repository: string
  readonly tags: number
  /** As many repositories as `repositories` get the image too: `<prefix>-00000` and so on. */
  readonly prefix: string
  readonly repositories: number
  readonly concurrency: number
}

export type Job = HeadsJob | PullsJob | BlobsJob | ImagesJob | SlowUploadsJob | ListingsJob

/** What a load finds, besides how long it takes. */
export interface Findings {
  /** Of loads that go on for a time, not until something is done. */
  readonly rate?: Rate
  readonly pulls?: readonly PullTimes[]
}

/** A load whose content and connections are ready. */
export type Load = () => Promise<Findings | void>

export async function prepareLoad(job: Job): Promise<Load> {
  if (job.kind === 'heads') {
    const heads = await prepareHeads(job)
    return async () => ({ rate: await heads() })
  }
  if (job.kind === 'pulls') {
    const pulls = await preparePulls(job)
    return async () => ({ pulls: await pulls() })
  }
  if (job.kind === 'blobs') return prepareBlobs(job)
  if (job.kind === 'images') return prepareImages(job)
  if (job.kind === 'slow uploads') return prepareSlowUploads(job)
  return prepareListings(job)
}

async function prepareBlobs(job: BlobsJob): Promise<Load> {
  const { repository, count, sizeBytes } = job
  await authorizationFor(job, [repository])
  const blobs = Array.from({ length: count }, () => prepareBlob(randomBytes(sizeBytes)))
  const connections = await openConnections(job, count)
  return () =>
    inParallel(connections, blobs, (connection, blob) => pushBlob(connection, repository, blob))
}

async function prepareImages(job: ImagesJob): Promise<Load> {
  const images = Array.from({ length: job.count }, (_, index) => ({
    index,
    image: uniqueImage(job.layers),
  }))
  const connections = await openConnections(job, job.concurrency)
  const repositoryOf = (index: number) => `${job.prefix}-${index % job.repositories}`
  for (const { index } of images) await authorizationFor(job, [repositoryOf(index)])
  return () =>
    inParallel(connections, images, (connection, { index, image }) =>
      pushImage(connection, repositoryOf(index), image, `image-${index}`),
    )
}

function uniqueImage(layers: number): PreparedImage {
  const bytes = Array.from({ length: layers }, () => randomBytes(2048))
  return prepareImage(uniqueConfig(), bytes)
}

async function prepareSlowUploads(job: SlowUploadsJob): Promise<Load> {
  const connections = await openConnections(job, job.count)
  const chunk = frameChunk(randomBytes(job.chunkBytes))
  await authorizationFor(job, [job.repository])
  return async () => {
    await Promise.all(connections.map((connection) => uploadSlowly(connection, job, chunk)))
    connections.forEach((connection) => connection.close())
  }
}

async function uploadSlowly(
  connection: Connection,
  job: SlowUploadsJob,
  chunk: Buffer,
): Promise<void> {
  const target = await beginUpload(connection, job.repository, `sha256:${'0'.repeat(64)}`)
  const headers = { 'Content-Type': 'application/octet-stream' }
  const request = { method: 'PATCH', target, headers, chunked: true } as const
  connection.write(requestHead(await connection.authorized(request)))
  const deadline = Date.now() + job.seconds * 1000
  while (Date.now() < deadline) {
    connection.write(chunk)
    await sleep(job.everyMs)
  }
  const answer = connection.answer()
  connection.write(lastChunk)
  const location = locationOf(expectStatus(await answer, 202))
  expectStatus(await connection.request({ method: 'DELETE', target: location }), 204)
}

async function prepareListings(job: ListingsJob): Promise<Load> {
  const connections = await openConnections(job, job.concurrency)
  const image = prepareImage(uniqueConfig(), [])
  return async () => {
    await inParallel(connections, [image.config], (connection, config) =>
      pushBlob(connection, job.repository, config),
    )
    await inParallel(connections, numbers(job.tags), (connection, n) =>
      putManifest(connection, job.repository, image.manifest, `tag-${n}`),
    )
    await inParallel(connections, numbers(job.repositories), async (connection, n) => {
      const repository = `${job.prefix}-${n}`
      await mountBlob(connection, repository, image.config.digest, job.repository)
      await putManifest(connection, repository, image.manifest, 'latest')
    })
  }
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, n) => String(n).padStart(5, '0'))
}

function openConnections(server: Server, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => Connection.open(server)))
}

/** Each connection takes the next item when it has done one. */
async function inParallel<T>(
  connections: readonly Connection[],
  items: readonly T[],
  work: (connection: Connection, item: T) => Promise<void>,
): Promise<void> {
  const remaining = items.values()
  await Promise.all(
    connections.map(async (connection) => {
      for (const item of remaining) await work(connection, item)
    }),
  )
}
