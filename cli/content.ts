import { MetadataCache } from '../registry/metadata-cache.ts'
import type { Access } from './access.ts'

/** What operations on content work on, in a command. It remembers nothing: what is revoked, servers remember. */
export function contentOf({ control: { db, changes } }: Pick<Access, 'control'>) {
  return { db, changes, cache: new MetadataCache(false) }
}
