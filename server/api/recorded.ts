import type { AccessControl } from '../../auth/access-control.ts'
import { type Deed, recording } from '../http/trail.ts'
import type { RequestContext } from '../state.ts'

interface Place {
  readonly control: AccessControl
  readonly ctx: RequestContext
}

/** Runs `work` as {@link recording} does, also when it was done, and answers what it does. */
export async function recorded<T>(
  { control, ctx }: Place,
  deed: Omit<Deed, 'isRecorded'>,
  work: () => Promise<T>,
): Promise<T> {
  const results: T[] = []
  await recording(control.audit, ctx, { ...deed, isRecorded: true }, async () => {
    results.push(await work())
  })
  return results[0]!
}
