/*
 * What is in a generated registry, and how it is called. Everything follows from the ids, so that
 * operations can name what they need without looking for it.
 */
import { createHash } from 'node:crypto'
import { type Digest, formatDigest } from '../../oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'

export interface Size {
  readonly repositories: number
  readonly manifests: number
  /** About so many. */
  readonly edges: number
}

/** Repositories with a tenth of all manifests each; the last of them was deleted. */
export const HOT = 4

/** Manifests come in blocks of so many, each block in one repository. */
export const BLOCK = 5

/** Blobs that nothing names or links. */
export const DEAD_BLOBS = 1000

/** Blobs of each of the manifests that a tenth of the repositories have in common. */
export const SHARED_BLOBS = 10

/** The layers `base-0` to `base-50`: the first is in a tenth of all manifests. */
export const BASES = 51

/** Blocks of the first repository whose last manifest refers to `m4`. */
export const REFERRERS = { first: 10, last: 59 }

/** Of a tenth of the repositories: those whose ids end in 5. */
export const UPSTREAM = 'docker.io'

/** Names of teams, by which catalogs are cut: as many repositories in each at any size. */
export function teamsOf({ repositories }: Size): number {
  return repositories / 100
}

/** Manifests in each of the hot repositories. */
export function hotManifests({ manifests }: Size): number {
  return manifests / 10
}

/** Layers that many repositories have: so many that may be the layer at one place of an image. */
export function poolOf({ repositories }: Size): number {
  return Math.max(10, Math.floor(repositories / 40))
}

/** The first manifest of a repository that is not hot. */
export function firstManifestOf(size: Size, repository: number): number {
  return HOT * hotManifests(size) + (repository - HOT - 1) * BLOCK + 1
}

export function hotRepository(hot: 1 | 2 | 3): RepositoryName {
  return parseRepositoryName(`hot/repository-${hot}`)
}

/** Of a repository that is neither hot nor a cache. */
export function nameOf(size: Size, repository: number): RepositoryName {
  return parseRepositoryName(`team-${repository % teamsOf(size)}/image-${repository}`)
}

/** Of the manifest `m<id>`, of `shared-<0 to 2>`, of the blobs `c<id>`, `base-<n>`, `dead-<n>`, … */
export function digestNamed(name: string): Digest {
  return formatDigest('sha256', createHash('sha256').update(name).digest('hex'))
}
