import { type Digest, parseDigest } from './digest.ts'
import { RegistryError } from './errors.ts'

/** A repository name such as `library/alpine`, already checked by {@link parseRepositoryName}. */
export type RepositoryName = string & { readonly __type: 'RepositoryName' }

/** A tag such as `3.20`, already checked by {@link parseTag}. */
export type Tag = string & { readonly __type: 'Tag' }

/** What the last path segment of a manifest URL names. */
export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest }

// Distribution spec, "Pulling manifests": the grammar of <name> and of a tag.
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** Clients cap `host[:port]/name` at this many characters. */
export const MAX_FULL_NAME_LENGTH = 255

/**
 * @param maxLength what is left of {@link MAX_FULL_NAME_LENGTH} after the registry's own host
 * @throws RegistryError NAME_INVALID
 */
export function parseRepositoryName(
  text: string,
  maxLength: number = MAX_FULL_NAME_LENGTH,
): RepositoryName {
  if (text.length > maxLength) {
    throw new RegistryError('NAME_INVALID', `longer than ${maxLength} characters`)
  }
  if (!NAME.test(text)) throw new RegistryError('NAME_INVALID', JSON.stringify(text))
  return text as RepositoryName
}

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= MAX_FULL_NAME_LENGTH && NAME.test(text)
}

/** @throws RegistryError TAG_INVALID */
export function parseTag(text: string): Tag {
  if (!TAG.test(text)) throw new RegistryError('TAG_INVALID', JSON.stringify(text.slice(0, 160)))
  return text as Tag
}

/** @throws RegistryError DIGEST_INVALID when it has a colon and is no digest, TAG_INVALID when it is no tag */
export function parseReference(text: string): Reference {
  if (text.includes(':')) return { kind: 'digest', digest: parseDigest(text) }
  return { kind: 'tag', tag: parseTag(text) }
}

/** How a reference reads behind a repository's name: `:tag` or `@digest`. */
export function formatReference(reference: Reference): string {
  return reference.kind === 'tag' ? `:${reference.tag}` : `@${reference.digest}`
}
