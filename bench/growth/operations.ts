import type { Side } from '../bench.ts'
import { imageOf, imagesEach, layers, nameOf, tagOf } from './content.ts'

/** A kind of request, asked for in many repositories. */
export interface Operation {
  readonly title: string
  readonly method: 'GET' | 'HEAD'
  /** While the number of repositories grows. */
  readonly connections: number
  /** From which of the repositories 0 to before `repositories` it is asked for. */
  repositories(this: void, repositories: number): Span
  pathOf(this: void, repository: number, side: Side): string
}

/** Numbers of repositories from `first` to before `end`. */
export interface Span {
  readonly first: number
  readonly end: number
}

/** While the number of repositories grows. */
export const manyConnections = 64

/** The same for a catalog page, for which the peer walks through all repositories. */
const fewConnections = 16

const all = (repositories: number): Span => ({ first: 0, end: repositories })

/** How many repositories somebody asks for again and again, among many more. */
const hotRepositories = 1000

const manifestByTag: Operation = {
  title: 'manifest GET by tag',
  method: 'GET',
  connections: manyConnections,
  repositories: all,
  pathOf: (repository) => `/v2/${nameOf(repository)}/manifests/${tagOf(0)}`,
}

/** Each asks for other content than the others, as far as a repository has so much. */
export const reads: readonly Operation[] = [
  manifestByTag,
  {
    title: 'manifest GET by digest',
    method: 'GET',
    connections: manyConnections,
    repositories: all,
    pathOf: (repository, side) => {
      const { manifest } = imageOf(repository, 1 % imagesEach[side])
      return `/v2/${nameOf(repository)}/manifests/${manifest.digest}`
    },
  },
  {
    title: 'blob HEAD',
    method: 'HEAD',
    connections: manyConnections,
    repositories: all,
    pathOf: (repository, side) => {
      const { config } = imageOf(repository, 2 % imagesEach[side])
      return `/v2/${nameOf(repository)}/blobs/${config.digest}`
    },
  },
  {
    title: `blob GET of ${(layers[0]?.bytes.length ?? 0) / 1024} KiB`,
    method: 'GET',
    connections: manyConnections,
    repositories: all,
    pathOf: (repository) => {
      const [layer] = imageOf(repository, 0).layers
      return `/v2/${nameOf(repository)}/blobs/${layer.digest}`
    },
  },
  {
    title: 'tag page',
    method: 'GET',
    connections: manyConnections,
    repositories: all,
    pathOf: (repository) => `/v2/${nameOf(repository)}/tags/list?n=100`,
  },
  {
    title: 'catalog page of 100',
    method: 'GET',
    connections: fewConnections,
    // The middle tenth: a page begins anywhere there.
    repositories: (repositories) => ({
      first: Math.floor(repositories * 0.45),
      end: Math.ceil(repositories * 0.55),
    }),
    pathOf: (repository) => `/v2/_catalog?n=100&last=${encodeURIComponent(nameOf(repository))}`,
  },
]

/** For where {@link reads} ask for more repositories than are hot anywhere. */
export const hotReads: readonly Operation[] = [
  {
    ...manifestByTag,
    title: `${manifestByTag.title}, ${hotRepositories.toLocaleString('en')} hot repositories`,
    repositories: (repositories) => ({
      first: Math.max(0, repositories - hotRepositories),
      end: repositories,
    }),
  },
]

export const pushTitle = 'push of a tiny image'

/** Titles of all operations, like ones side by side. */
export const readingOrder: readonly string[] = [
  manifestByTag.title,
  ...hotReads.map(({ title }) => title),
  ...reads.slice(1).map(({ title }) => title),
  pushTitle,
]

/** Where the number of connections grows: the most of `repositories` that is not above 1,000. */
export function baseOf(repositories: readonly number[]): number {
  const fitting = repositories.filter((number) => number <= 1000)
  return fitting.length > 0 ? Math.max(...fitting) : Math.min(...repositories)
}
