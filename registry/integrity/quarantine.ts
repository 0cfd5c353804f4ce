/*
 * A blob whose bytes are bad is absent to everybody: HEAD and GET do not find it, and no manifest can
 * name it. Whoever pushes it brings its bytes again, and so does the next pull of what came from an
 * upstream: an upload makes it live. All that names it stays as it is.
 */
import { lockDigest } from '../../storage/metadata/blobs.ts'
import { transaction } from '../../storage/metadata/database.ts'
import {
  quarantineBlob,
  releaseBlob,
  type VerifiableBlob,
} from '../../storage/metadata/integrity.ts'
import type { Registry } from '../registry.ts'
import { type Revoking, revokingInTurn } from '../revocation.ts'

export interface BadBlob {
  readonly blob: VerifiableBlob
  /** What is wrong, for a person. */
  readonly problem: string
}

/**
 * Makes blobs absent whose bytes were found to be bad, each if it is still the one that was looked
 * at: a push may have brought good ones, or a delete taken it. Returns when no process serves them
 * from memory any more.
 *
 * @returns those that are absent now
 */
export function quarantine<Bad extends BadBlob>(
  registry: Revoking & Pick<Registry, 'log'>,
  bad: readonly Bad[],
): Promise<Bad[]> {
  return revokingInTurn(registry, async (commit) => {
    const done: Bad[] = []
    for (const each of bad) {
      const { blob, problem } = each
      const { digest, location } = blob
      const isDone = await commit(async (tx, revoke) => {
        await lockDigest(tx, digest)
        if (!(await quarantineBlob(tx, blob, problem))) return false
        await revoke({ digest })
        return true
      })
      if (!isDone) continue
      registry.log.error({ digest, location, problem }, 'blob quarantined')
      done.push(each)
    }
    return done
  })
}

/** Makes a quarantined blob live again whose bytes are right. @returns false when it changed meanwhile */
export function release({ db }: Pick<Registry, 'db'>, blob: VerifiableBlob): Promise<boolean> {
  return transaction(db, async (tx) => {
    await lockDigest(tx, blob.digest)
    return releaseBlob(tx, blob)
  })
}
