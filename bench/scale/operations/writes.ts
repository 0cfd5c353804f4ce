import { type Digest, digestOf } from '../../../oci/digest.ts'
import { RegistryError } from '../../../oci/errors.ts'
import { parseRepositoryName, parseTag } from '../../../oci/reference.ts'
import { deleteBlob, mountBlob } from '../../../registry/blobs.ts'
import { deleteManifest, putManifest } from '../../../registry/manifests.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { ensureRepository } from '../../../storage/metadata/repositories.ts'
import { digestNamed, hotRepository } from '../content.ts'
import { hotManifest, type Operation, type Turn } from '../operation.ts'

const hot = hotRepository(1)
const used = hotRepository(2)
const base = digestNamed('base-0')
const contentType = 'application/vnd.oci.image.manifest.v1+json'
const permits = () => true

const descriptor = (digest: Digest, mediaType: string) => ({ mediaType, digest, size: 1000 })

/** An image of the first repository over layers that are in many others. */
function newImage({ size, n }: Turn, purpose: string): Buffer {
  const layers = ['base-0', 'r1-0', 'r1-1', 'r1-2', 'r1-3', 'r1-4', 'l3'].map(digestNamed)
  const config = digestNamed(`c${hotManifest(size, 1, 30, 0)}`)
  const manifest = {
    schemaVersion: 2,
    mediaType: contentType,
    config: descriptor(config, 'application/vnd.oci.image.config.v1+json'),
    layers: layers.map((layer) => descriptor(layer, 'application/vnd.oci.image.layer.v1.tar+gzip')),
    annotations: { purpose, n: String(n) },
  }
  return Buffer.from(JSON.stringify(manifest))
}

function push(turn: Turn, purpose: string, tag: string | undefined): Promise<unknown> {
  const bytes = newImage(turn, purpose)
  const reference =
    tag === undefined
      ? ({ kind: 'digest', digest: digestOf(bytes) } as const)
      : ({ kind: 'tag', tag: parseTag(tag) } as const)
  return putManifest(turn.registry, hot, reference, {
    bytes,
    contentType,
    tags: [],
    actor: 'user:pusher',
    precondition: undefined,
    permits,
  })
}

async function mount({ registry, n }: Turn, isNamed: boolean): Promise<void> {
  const target = parseRepositoryName(`mounts/${isNamed ? 'named' : 'found'}-${n}`)
  const from = isNamed ? hot : undefined
  const isMounted = await mountBlob(registry, target, { digest: base, from, mayPull: () => true })
  if (!isMounted) throw new Error('not mounted')
}

/** Blocks of the second repository, of which each run uses up one. */
const DELETED_TAGS = 10
const DELETED_MANIFESTS = 60

export const writeOperations: readonly Operation[] = [
  { title: 'mount of a hot layer', run: (turn) => mount(turn, true) },
  {
    title: 'mount of a hot layer, its repository not named',
    run: (turn) => mount(turn, false),
  },
  {
    title: 'manifest PUT over hot layers, new tag',
    run: (turn) => push(turn, 'new', `n${turn.n}`),
  },
  {
    title: 'manifest PUT over hot layers, moving a tag',
    run: (turn) => push(turn, 'move', 'latest'),
  },
  { title: 'manifest PUT over hot layers, no tag', run: (turn) => push(turn, 'none', undefined) },
  {
    title: 'tag DELETE',
    run: ({ registry, size, n }) => {
      const tag = parseTag(`v${hotManifest(size, 2, DELETED_TAGS + n, 3)}`)
      return deleteTag(registry, used, tag, 'user:deleter')
    },
  },
  {
    title: 'manifest DELETE by digest',
    run: ({ registry, size, n }) => {
      const digest = digestNamed(`m${hotManifest(size, 2, DELETED_MANIFESTS + n, 3)}`)
      return deleteManifest(registry, used, digest, { actor: 'user:deleter', permits })
    },
  },
  {
    title: 'blob DELETE of a hot layer, refused',
    run: async ({ registry }) => {
      const refused = await deleteBlob(registry, hot, base).then(
        () => undefined,
        (error: unknown) => error,
      )
      if (!(refused instanceof RegistryError) || refused.code !== 'UNSUPPORTED')
        throw new Error('not refused as it should be', { cause: refused })
    },
  },
  {
    title: 'blob DELETE of what no manifest names',
    // An index names no blob, and has one all the same.
    run: ({ registry, size, n }) =>
      deleteBlob(registry, hot, digestNamed(`c${hotManifest(size, 1, 4 * n, 0)}`)),
  },
  {
    title: 'repository DELETE of a small one',
    before: ({ registry: { db }, n }) => ensureRepository(db, parseRepositoryName(`gone/r-${n}`)),
    run: ({ registry, n }) => {
      const name = parseRepositoryName(`gone/r-${n}`)
      return deleteRepository(registry, name, { actor: 'user:deleter', permits })
    },
  },
]
