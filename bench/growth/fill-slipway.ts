import path from 'node:path'
import { parseDigest } from '../../oci/digest.ts'
import { OCI_MANIFEST } from '../../oci/media-types.ts'
import { findRunningServer } from '../../postgres/running.ts'
import { locationOf } from '../../storage/blob/filesystem/layout.ts'
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import { writeBlob } from './blob-files.ts'
import { type Image, imageOf, imagesEach, layers, nameOf } from './content.ts'

/** Repositories of one statement. */
const atOnce = 500

const tables = [
  'repositories',
  'blobs',
  'repository_blobs',
  'manifests',
  'manifest_blobs',
  'tags',
  'tag_events',
]

/**
 * Adds repositories from `first` to before `end` to the Slipway that runs on the data folder, as if
 * they had been pushed: their rows, which it has not read yet, and the files of their blobs.
 */
export async function fillSlipway(data: string, first: number, end: number): Promise<void> {
  const connection = await findRunningServer(path.join(data, 'postgres'))
  if (connection === undefined) throw new Error(`no database runs in ${data}`)
  const root = path.join(data, 'registry')
  // One connection: what is set for the session has to stay set.
  const db = openPool({ connection, size: 1, onError: () => {} })
  try {
    // Neither triggers nor the checks of foreign keys: nothing that is inserted is wrong.
    await db.query('set session_replication_role = replica')
    await db.query('set synchronous_commit = off')
    await insertLayers(db)
    for (let next = first; next < end; next += atOnce) {
      const images = imagesOf(next, Math.min(next + atOnce, end))
      const inserted = insertImages(db, images)
      for (const { config } of images) writeBlob(root, config)
      await inserted
    }
    await db.query(`vacuum (analyze) ${tables.join(', ')}`)
    await db.query('checkpoint')
  } finally {
    await db.end()
  }
}

interface NamedImage extends Image {
  readonly name: string
}

function imagesOf(first: number, end: number): NamedImage[] {
  const images: NamedImage[] = []
  for (let repository = first; repository < end; repository++) {
    const name = nameOf(repository)
    for (let image = 0; image < imagesEach.ours; image++) {
      images.push({ name, ...imageOf(repository, image) })
    }
  }
  return images
}

async function insertLayers(db: Pool): Promise<void> {
  await db.query({
    text: `insert into blobs (digest, size_bytes, location)
           select * from unnest($1::text[], $2::bigint[], $3::text[])
           on conflict do nothing`,
    values: [
      layers.map(({ digest }) => digest),
      layers.map(({ bytes }) => bytes.length),
      layers.map(({ digest }) => locationOf(parseDigest(digest))),
    ],
  })
}

async function insertImages(db: Pool, images: readonly NamedImage[]): Promise<void> {
  await db.query({
    text: `with image as (
             select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[],
                                  $6::bigint[], $7::text[], $8::text[], $9::text[])
               as i(name, tag, digest, bytes, config, config_bytes, config_location, base, layer)
           ), repository as (
             insert into repositories (name, listed) select distinct name, true from image
             returning id, name
           ), manifest as (
             insert into manifests (repository_id, digest, media_type, bytes, size_bytes)
             select r.id, i.digest, '${OCI_MANIFEST}', i.bytes, length(i.bytes)
             from image i join repository r using (name)
             returning id, repository_id, digest
           ), config as (
             insert into blobs (digest, size_bytes, location)
             select config, config_bytes, config_location from image
           ), edge as (
             insert into manifest_blobs (manifest_id, digest, repository_id)
             select m.id, b.digest, m.repository_id
             from image i join manifest m using (digest)
             cross join lateral (values (i.config), (i.base), (i.layer)) as b(digest)
             returning repository_id, digest
           ), link as (
             insert into repository_blobs (repository_id, digest)
             select distinct repository_id, digest from edge
           ), tag as (
             insert into tags (repository_id, name, manifest_id)
             select m.repository_id, i.tag, m.id from image i join manifest m using (digest)
           )
           insert into tag_events (repository_id, name, to_digest)
           select m.repository_id, i.tag, m.digest from image i join manifest m using (digest)`,
    values: [
      images.map(({ name }) => name),
      images.map(({ tag }) => tag),
      images.map(({ manifest }) => manifest.digest),
      images.map(({ manifest }) => manifest.bytes),
      images.map(({ config }) => config.digest),
      images.map(({ config }) => config.bytes.length),
      images.map(({ config }) => locationOf(parseDigest(config.digest))),
      images.map(({ layers: [base] }) => base.digest),
      images.map(({ layers: [, layer] }) => layer.digest),
    ],
  })
}
