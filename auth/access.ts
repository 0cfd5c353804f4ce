import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'

/** What a request wants to do with a repository. */
export type Action = 'pull' | 'push' | 'delete'

/** What the bearer of one request may do. */
export interface Access {
  /** Stable over renames; undefined for anonymous. */
  readonly subject: string | undefined
  allows(repository: RepositoryName, action: Action): boolean
  /** Whether the names of all repositories may be listed. */
  readonly mayListRepositories: boolean
}

/** For `auth: none`: whoever reaches the server may do everything. */
export const unrestricted: Access = {
  subject: undefined,
  allows: () => true,
  mayListRepositories: true,
}

/** @throws RegistryError UNAUTHORIZED when a token might help, DENIED when it would not */
export function requireAccess(access: Access, repository: RepositoryName, action: Action): void {
  if (access.allows(repository, action)) return
  throw new RegistryError(
    access.subject === undefined ? 'UNAUTHORIZED' : 'DENIED',
    `repository:${repository}:${action}`,
  )
}
