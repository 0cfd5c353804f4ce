import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { tarOf } from './tar.ts'

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly os: string; readonly architecture: string }
}

/** An OCI image layout on disk, with the descriptor of what its one tag names. */
export interface Layout {
  readonly directory: string
  readonly tag: string
  readonly root: Descriptor
}

export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  gzipLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const

const mebibyte = 2 ** 20

/** An image of one small layer for one platform. */
export async function writeImage(directory: string, content: string): Promise<Layout> {
  await startLayout(directory)
  return finishLayout(directory, await addImage(directory, 'amd64', content))
}

/** An index of one image for each of the architectures, which share no blob. */
export async function writeMultiPlatformImage(
  directory: string,
  architectures: readonly string[],
): Promise<Layout> {
  await startLayout(directory)
  const manifests: Descriptor[] = []
  for (const architecture of architectures) {
    const image = await addImage(directory, architecture, `made for ${architecture}`)
    manifests.push({ ...image, platform: { os: 'linux', architecture } })
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
  return finishLayout(directory, await addJson(directory, mediaTypes.index, index))
}

/**
 * An image of one layer of so many MiB, no two of which are alike: a part that arrives
 * twice, not at all or at another place changes the digest. Nearly all of it is a hole in
 * the file, so that it costs next to nothing to make.
 */
export async function writeLargeImage(directory: string, mebibytes: number): Promise<Layout> {
  await startLayout(directory)
  const draft = path.join(directory, 'draft')
  const file = await open(draft, 'w')
  for (let index = 0; index < mebibytes; index += 1) {
    const stamp = createHash('sha256').update(`${index}`).digest()
    await file.write(stamp, 0, stamp.length, index * mebibyte)
  }
  await file.truncate(mebibytes * mebibyte)
  await file.close()

  const digest = await digestOfFile(draft)
  await rename(draft, blobFile(directory, digest))
  const layer = { mediaType: mediaTypes.layer, digest, size: mebibytes * mebibyte }
  const config = await addJson(directory, mediaTypes.config, configOf('amd64', digest))
  return finishLayout(directory, await addManifest(directory, config, layer))
}

/** The digests of all blobs of a layout, sorted; @throws Error when one has other bytes */
export async function verifiedDigests(directory: string): Promise<readonly string[]> {
  const found = (await readdir(path.join(directory, 'blobs', 'sha256'))).toSorted()
  for (const hex of found) {
    const actual = await digestOfFile(blobFile(directory, `sha256:${hex}`))
    if (actual !== `sha256:${hex}`) throw new Error(`the blob ${hex} has the digest ${actual}`)
  }
  return found.map((hex) => `sha256:${hex}`)
}

async function addImage(
  directory: string,
  architecture: string,
  content: string,
): Promise<Descriptor> {
  const archive = tarOf('content', Buffer.from(content))
  const layer = await addBlob(directory, mediaTypes.gzipLayer, gzipSync(archive))
  const config = configOf(architecture, digestOf(archive))
  return addManifest(directory, await addJson(directory, mediaTypes.config, config), layer)
}

function configOf(architecture: string, diffId: string): object {
  return { os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: [diffId] } }
}

async function addManifest(
  directory: string,
  config: Descriptor,
  layer: Descriptor,
): Promise<Descriptor> {
  const { manifest: mediaType } = mediaTypes
  return addJson(directory, mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] })
}

async function addJson(directory: string, mediaType: string, value: object): Promise<Descriptor> {
  return addBlob(directory, mediaType, Buffer.from(JSON.stringify(value)))
}

async function addBlob(directory: string, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const digest = digestOf(bytes)
  await writeFile(blobFile(directory, digest), bytes)
  return { mediaType, digest, size: bytes.length }
}

async function startLayout(directory: string): Promise<void> {
  await mkdir(path.join(directory, 'blobs', 'sha256'), { recursive: true })
  await writeFile(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
}

async function finishLayout(directory: string, root: Descriptor): Promise<Layout> {
  const tag = 'made'
  const named = { ...root, annotations: { 'org.opencontainers.image.ref.name': tag } }
  const index = { schemaVersion: 2, manifests: [named] }
  await writeFile(path.join(directory, 'index.json'), JSON.stringify(index))
  return { directory, tag, root }
}

function blobFile(directory: string, digest: string): string {
  return path.join(directory, 'blobs', ...digest.split(':'))
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: mebibyte }), hash)
  return `sha256:${hash.digest('hex')}`
}
