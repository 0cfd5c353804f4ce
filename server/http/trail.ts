import type { Access } from '../../auth/access.ts'
import type { AuditTrail } from '../../auth/audit.ts'
import { Unauthorized } from '../../auth/tokens/challenge.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RequestContext } from '../state.ts'

type AuditEvent = Parameters<AuditTrail['record']>[0]

/** What a request is called in the audit trail. */
export interface Deed {
  readonly action: string
  readonly repository?: string
  /** Tag or digest; '' for none. */
  readonly target: string
  /** Whether it is worth a word that it was done, and not only that it was denied. */
  readonly isRecorded: boolean
}

/** Denials that are in the trail, where one recording is within another. */
const RECORDED = new WeakSet<RegistryError>()

/** Runs `work`, and records that it was done, or that the rules did not allow it. */
export async function recording(
  trail: Pick<AuditTrail, 'record'>,
  ctx: RequestContext,
  deed: Deed,
  work: () => Promise<void>,
): Promise<void> {
  const { access } = ctx.state
  try {
    await work()
  } catch (error) {
    if (isDenied(error, ctx) && !RECORDED.has(error)) {
      RECORDED.add(error)
      trail.record({ ...eventOf(deed, ctx, access), result: 'denied', detail: detailOf(error) })
    }
    throw error
  }
  if (deed.isRecorded) trail.record({ ...eventOf(deed, ctx, access), result: 'done' })
}

/** @param access as it was before: a handler may have asked once more who it is */
function eventOf(
  { action, repository, target }: Deed,
  { state }: RequestContext,
  access: Access,
): Omit<AuditEvent, 'result'> {
  const { address, requestId } = state
  return { action, repository, target, actor: access.subject, address, requestId }
}

/**
 * Somebody known was told that the rules say no. A token that was not made for this, with which
 * every client begins, is no denial; and strangers do not fill the trail.
 */
function isDenied(error: unknown, { state }: RequestContext): error is RegistryError {
  if (!(error instanceof RegistryError)) return false
  if (error instanceof Unauthorized) return error.isFinal
  return error.code === 'DENIED' && error.status === 403 && state.access.subject !== undefined
}

function detailOf({ details }: RegistryError): string {
  return details.join('; ')
}
