import { type Digest, parseDigest } from '../oci/digest.ts'
import { isRepositoryName, parseTag, type RepositoryName, type Tag } from '../oci/reference.ts'
import { UsageError } from './usage.ts'

export interface Image {
  readonly repository: RepositoryName
  readonly tag?: Tag
  readonly digest?: Digest
}

/** `team/app`, `team/app:1.0` or `team/app@sha256:…`. @throws UsageError, RegistryError TAG_INVALID, DIGEST_INVALID */
export function parseImage(word: string): Image {
  const [, name = '', tag, digest] = /^([^:@]*)(?::([^@]*))?(?:@(.*))?$/.exec(word) ?? []
  const repository = parseRepository(name, word)
  if (tag !== undefined && digest !== undefined) {
    throw new UsageError(`${word}: expected a tag or a digest, not both`)
  }
  if (digest !== undefined) return { repository, digest: parseDigest(digest) }
  return tag === undefined ? { repository } : { repository, tag: parseTag(tag) }
}

/** `team/app@sha256:…`. @throws UsageError, RegistryError DIGEST_INVALID */
export function parseImageDigest(word: string): Required<Omit<Image, 'tag'>> {
  const { repository, digest } = parseImage(word)
  if (digest !== undefined) return { repository, digest }
  throw new UsageError(`${word}: expected a digest, such as team/app@sha256:…`)
}

/** @throws UsageError that shows `word` */
export function parseRepository(name: string, word = name): RepositoryName {
  if (isRepositoryName(name)) return name
  throw new UsageError(`${word}: expected a repository such as team/app`)
}
