import { patternsOf } from '../../../auth/rules/policy.ts'
import { parseTag } from '../../../oci/reference.ts'
import { promiseBlob } from '../../../registry/blobs.ts'
import { getManifest, promiseManifest } from '../../../registry/manifests.ts'
import { getReferrers } from '../../../registry/referrers.ts'
import { getRepositories } from '../../../registry/repositories.ts'
import { getTags } from '../../../registry/tags.ts'
import { getTagHistory } from '../../../registry/undo/tag-history.ts'
import { findBlobOfUpstream } from '../../../storage/metadata/blobs.ts'
import { listDeletedRepositories } from '../../../storage/metadata/deleted-repositories.ts'
import { findParent } from '../../../storage/metadata/manifests.ts'
import { isHostedNamespace, type RepositoryId } from '../../../storage/metadata/repositories.ts'
import { digestNamed, hotManifests, hotRepository, nameOf, teamsOf, UPSTREAM } from '../content.ts'
import { expectCount, hotManifest, type Operation } from '../operation.ts'

const hot = hotRepository(1)
const base = digestNamed('base-0')
const everything = { all: [], none: [] }

export const readOperations: readonly Operation[] = [
  {
    title: 'tags: page of 100 from the middle of a tenth of all',
    run: async ({ registry, size, n }) => {
      const after = `v${Math.floor(hotManifests(size) / 2) + n}`
      expectCount((await getTags(registry, hot, { after, limit: 100 })).names.length, 100)
    },
  },
  {
    title: 'catalog: page of 100 from the middle',
    run: async ({ registry, size, n }) => {
      const after = `team-${Math.floor(teamsOf(size) / 2)}/image-${n}`
      const page = await getRepositories(registry, { after, limit: 100 }, everything)
      expectCount(page.names.length, 100)
    },
  },
  {
    title: 'catalog: page of who may read one team',
    run: async ({ registry, size }) => {
      const team = `team-${Math.floor(teamsOf(size) / 2) + 1}/**`
      const patterns = patternsOf({ allow: [team], deny: [], within: undefined })
      await getRepositories(registry, { after: '', limit: 100 }, patterns)
    },
  },
  {
    title: 'deleted repositories: page of 20',
    run: ({ registry: { db, keeping } }) =>
      listDeletedRepositories(db, { after: '', limit: 20 }, keeping.undoSeconds * 100, everything),
  },
  {
    title: 'manifest HEAD by tag',
    run: ({ registry, size, n }) => {
      const tag = parseTag(`v${hotManifest(size, 1, 20 + n, 1)}`)
      return getManifest(registry, hot, { kind: 'tag', tag })
    },
  },
  {
    title: 'manifest HEAD by digest, with the promise',
    run: ({ registry, size, n }) => {
      const digest = digestNamed(`m${hotManifest(size, 1, 20 + n, 1)}`)
      return promiseManifest(registry, hot, { kind: 'digest', digest })
    },
  },
  {
    title: 'blob HEAD of a hot layer, with the promise',
    run: ({ registry }) => promiseBlob(registry, hot, base),
  },
  {
    title: 'referrers: page of 17',
    run: async ({ registry }) => {
      const request = { artifactTypes: [], after: '0' }
      const { descriptors } = await getReferrers(registry, hot, digestNamed('m4'), request)
      expectCount(descriptors.length, 17)
    },
  },
  {
    title: 'the index that lists a manifest',
    run: async ({ registry: { db }, size, n }) => {
      const child = digestNamed(`m${hotManifest(size, 1, 4 * n, 1)}`)
      if ((await findParent(db, '1' as RepositoryId, child)) === undefined) throw new Error('none')
    },
  },
  {
    title: 'the same, of one that a tenth of the repositories have',
    run: async ({ registry: { db }, n }) => {
      const repository = String(10 * (n + 1)) as RepositoryId
      if ((await findParent(db, repository, digestNamed('shared-1'))) === undefined)
        throw new Error('none')
    },
  },
  {
    title: 'tag history: page of 100, of the repository',
    run: async ({ registry }) => {
      const page = { before: '', limit: 100 }
      expectCount((await getTagHistory(registry, hot, page)).length, 100)
    },
  },
  {
    title: 'tag history: page of 20, of a tag that moves',
    run: async ({ registry }) => {
      const page = { tag: parseTag('latest'), before: '', limit: 20 }
      expectCount((await getTagHistory(registry, hot, page)).length, 20)
    },
  },
  {
    title: 'tag history: page of 100, of a quiet repository',
    run: ({ registry, size, n }) =>
      getTagHistory(registry, nameOf(size, 10 * n + 11), { before: '', limit: 100 }),
  },
  {
    title: 'whether anything is hosted in a namespace',
    run: ({ registry: { db } }) => isHostedNamespace(db, 'nobody'),
  },
  {
    title: 'a hot layer in caches of an upstream',
    run: ({ registry: { db }, size }) => {
      const repository = nameOf(size, 11)
      return findBlobOfUpstream(db, { upstream: UPSTREAM, repository }, base)
    },
  },
]
