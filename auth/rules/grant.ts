/** What one may do with a repository. */
export const ACTIONS = ['pull', 'push', 'overwrite', 'delete'] as const

/**
 * `push` adds content and new tags, `overwrite` moves a tag that exists, `delete` removes
 * manifests, tags, blobs and the repository.
 */
export type Action = (typeof ACTIONS)[number]

/** Repositories and actions, as a rule, a personal token or a CI job is given them. */
export interface Coverage {
  /** Globs: `*` stands for anything but a slash, `**` for anything. */
  readonly repositories: readonly string[]
  /** Globs as well. Left out, all; with them only what names such a tag is meant. */
  readonly tags?: readonly string[] | undefined
  readonly actions: readonly Action[]
}

/** Whom a grant is for: `user:…`, `robot:…`, `group:…`, `anonymous`, `authenticated`, `everyone`. */
export type Subject = string

export interface Grant extends Coverage {
  /** Where it stands, for people: `grant 12`, or `access.yml, grant 3`. */
  readonly origin: string
  readonly effect: 'allow' | 'deny'
  readonly subject: Subject
}
