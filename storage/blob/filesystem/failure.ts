import { StorageFull } from '../blob-store.ts'

/** The code of a failed system call, such as `ENOENT`; undefined for any other failure. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

/** Undefined where `work` finds nothing at its path. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT'])

/** @throws StorageFull in place of the codes a filesystem has for it */
export async function orFull<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (FULL.has(codeOf(cause) ?? '')) throw new StorageFull('the disk is full', { cause })
    throw cause
  }
}
