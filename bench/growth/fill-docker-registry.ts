import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { parseDigest, splitDigest } from '../../oci/digest.ts'
import { REPOSITORIES } from '../../storage/blob/filesystem/layout.ts'
import { writeBlob } from './blob-files.ts'
import { imageOf, imagesEach, nameOf } from './content.ts'

/** So many repositories are written before anything else gets its turn. */
const atOnce = 200

/** Writes repositories from `first` to before `end` as docker-registry would, below its root. */
export async function fillDockerRegistry(root: string, first: number, end: number): Promise<void> {
  for (let repository = first; repository < end; repository++) {
    writeRepository(root, repository)
    if (repository % atOnce === 0) await setImmediate()
  }
}

/** All that reads look at; an index of the tag's past, which only deletes do, is left out. */
function writeRepository(root: string, repository: number): void {
  const folder = path.join(root, REPOSITORIES, nameOf(repository))
  const blobLinks = path.join(folder, '_layers', 'sha256')
  const manifestLinks = path.join(folder, '_manifests', 'revisions', 'sha256')
  const tags = path.join(folder, '_manifests', 'tags')
  for (const made of [blobLinks, manifestLinks, tags]) mkdirSync(made, { recursive: true })
  const linked = new Set<string>()
  for (let image = 0; image < imagesEach.peer; image++) {
    const { tag, config, layers, manifest } = imageOf(repository, image)
    writeBlob(root, config)
    writeBlob(root, manifest)
    for (const { digest } of [config, ...layers]) {
      if (!linked.has(digest)) writeLink(blobLinks, digest)
      linked.add(digest)
    }
    writeLink(manifestLinks, manifest.digest)
    mkdirSync(path.join(tags, tag))
    mkdirSync(path.join(tags, tag, 'current'))
    writeFileSync(path.join(tags, tag, 'current', 'link'), manifest.digest)
  }
}

function writeLink(folder: string, digest: string): void {
  const { hex } = splitDigest(parseDigest(digest))
  mkdirSync(path.join(folder, hex))
  writeFileSync(path.join(folder, hex, 'link'), digest)
}
