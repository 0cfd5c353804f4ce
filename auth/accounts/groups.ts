import { RegistryError } from '../../oci/errors.ts'
import {
  deleteGroup,
  deleteGroupMember,
  findGroup,
  type Group,
  insertGroup,
  insertGroupMember,
  listGroups,
  type Membership,
  updateGroup,
} from '../../storage/metadata/groups.ts'
import type { AccessControl, Actor } from '../access-control.ts'
import { changing } from '../changing.ts'
import { checkName } from '../rules/subject.ts'
import { refused } from './accounts.ts'

export type { Group, Membership }

/** @throws RegistryError NAME_INVALID, UNSUPPORTED with status 409 for a name taken */
export async function addGroup(
  control: AccessControl,
  actor: Actor,
  { name, description = '' }: { readonly name: string; readonly description?: string | undefined },
): Promise<Group> {
  checkName(name)
  await changing(
    control,
    actor,
    async (tx, record) => {
      const createdBy = actor.subject
      if (!(await insertGroup(tx, { name, description, createdBy }))) {
        throw refused(409, `the name ${name} is taken`)
      }
      await record({ action: 'group.add', target: name })
    },
    false,
  )
  return getGroup(control, name)
}

/** @throws RegistryError NAME_UNKNOWN */
export async function editGroup(
  control: AccessControl,
  actor: Actor,
  { name, description }: { readonly name: string; readonly description: string },
): Promise<Group> {
  await changing(
    control,
    actor,
    async (tx, record) => {
      if (!(await updateGroup(tx, name, description))) throw unknown(name)
      await record({ action: 'group.change', target: name, detail: 'description' })
    },
    false,
  )
  return getGroup(control, name)
}

/** Removes the group and the grants that name it; its members stay. @throws RegistryError NAME_UNKNOWN */
export async function removeGroup(
  control: AccessControl,
  actor: Actor,
  name: string,
): Promise<void> {
  await changing(control, actor, async (tx, record) => {
    if (!(await deleteGroup(tx, name))) throw unknown(name)
    await record({ action: 'group.remove', target: name })
  })
}

/** Also when it is a member already. @throws RegistryError NAME_UNKNOWN for the group or the account */
export async function addMember(
  control: AccessControl,
  actor: Actor,
  member: Membership,
): Promise<void> {
  // It may take something away: what the group is denied.
  await changing(control, actor, async (tx, record) => {
    if (!(await insertGroupMember(tx, member))) {
      throw new RegistryError(
        'NAME_UNKNOWN',
        `no group ${member.group}, or no account ${member.account}`,
      )
    }
    await record({ action: 'group.join', target: member.group, detail: member.account })
  })
}

/** @throws RegistryError NAME_UNKNOWN when it is no member */
export async function removeMember(
  control: AccessControl,
  actor: Actor,
  member: Membership,
): Promise<void> {
  await changing(control, actor, async (tx, record) => {
    if (!(await deleteGroupMember(tx, member))) {
      throw new RegistryError('NAME_UNKNOWN', `${member.account} is not in ${member.group}`)
    }
    await record({ action: 'group.leave', target: member.group, detail: member.account })
  })
}

/** @throws RegistryError NAME_UNKNOWN */
export async function getGroup({ db }: AccessControl, name: string): Promise<Group> {
  const group = await findGroup(db, name)
  if (group === undefined) throw unknown(name)
  return group
}

/** One page in the byte order of names, those after `after`. */
export function getGroups(
  { db }: AccessControl,
  page: { readonly after: string; readonly limit: number },
): Promise<Group[]> {
  return listGroups(db, page)
}

function unknown(name: string): RegistryError {
  return new RegistryError('NAME_UNKNOWN', `there is no group ${name}`)
}
