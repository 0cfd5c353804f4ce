/*
 * How long things stay that nothing names, or nothing names any more. All of it can be told and
 * changed at any time: what is stored is when something happened, not when it ends.
 */
import type { RepositoryName } from '../oci/reference.ts'

export interface KeepingTerms {
  /**
   * Seconds that a blob stays at least after an upload, a HEAD or a mount told somebody that it is
   * here; a manifest after a push or a HEAD by digest.
   */
  readonly graceSeconds: number
  /** Seconds in which what was deleted or overwritten can be restored. */
  readonly undoSeconds: number
  /** Seconds that a manifest stays that nothing names; 'always' for good. */
  readonly untagged: (repository: RepositoryName) => number | 'always'
  /** Seconds that a blob stays after the last manifest that named it. */
  readonly blobSeconds: number
}

/** When to look at a manifest that was pushed without a tag; undefined: never. */
export function untaggedSeconds(
  { graceSeconds, untagged }: KeepingTerms,
  repository: RepositoryName,
): number | undefined {
  const seconds = untagged(repository)
  return seconds === 'always' ? undefined : Math.max(seconds, graceSeconds)
}
