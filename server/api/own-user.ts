import type { AccessControl } from '../../auth/access-control.ts'
import { isUser } from '../../auth/accounts/accounts.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RequestContext } from '../state.ts'

/**
 * The name of the caller, who has to be a user with an account here.
 *
 * @param purpose who `changes` something has to show the password: a token that makes another
 *   would get around its limits, and outlive itself
 * @throws RegistryError DENIED for robots, users of the htpasswd file, CI jobs and anonymous
 */
export async function ownUser(
  { control, ctx }: { readonly control: AccessControl; readonly ctx: RequestContext },
  purpose: 'looks' | 'changes',
): Promise<string> {
  const { access } = ctx.state
  const { subject } = access.principal
  const name = /^user:(.+)$/.exec(subject ?? '')?.[1]
  if (name === undefined || !(await isUser(control, name))) {
    throw new RegistryError('DENIED', 'only users with an account here have that')
  }
  if (purpose === 'changes' && !access.showedPassword) {
    throw new RegistryError('DENIED', 'this takes the password, a token does not do')
  }
  return name
}
