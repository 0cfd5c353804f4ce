import { RegistryError } from '../../oci/errors.ts'
import { checkRepositoryGlob, checkTagGlob } from '../../oci/glob.ts'
import {
  deleteGrant,
  findGrant,
  type GrantRecord,
  insertGrant,
  listGrants,
  updateGrant,
} from '../../storage/metadata/grants.ts'
import type { AccessControl, Actor } from '../access-control.ts'
import { changing } from '../changing.ts'
import { ACTIONS, type Coverage, type Grant } from '../rules/grant.ts'
import { checkSubject } from '../rules/subject.ts'
import { refused } from './accounts.ts'

export type { GrantRecord }

export interface NewGrant extends Omit<Grant, 'origin'> {
  readonly description?: string | undefined
}

/** @throws RegistryError NAME_INVALID, TAG_INVALID, or UNSUPPORTED with status 400 */
export async function addGrant(
  control: AccessControl,
  actor: Actor,
  grant: NewGrant,
): Promise<GrantRecord> {
  checkGrant(grant)
  const id = await changing(
    control,
    actor,
    async (tx, record) => {
      const added = await insertGrant(tx, { ...toRecord(grant), createdBy: actor.subject ?? null })
      await record({ action: 'grant.add', target: added, detail: describeGrant(grant) })
      return added
    },
    grant.effect === 'deny',
  )
  return getGrant(control, id)
}

/** Puts `grant` in the place of another. @throws as {@link addGrant}, and NAME_UNKNOWN */
export async function editGrant(
  control: AccessControl,
  actor: Actor,
  { id, ...grant }: NewGrant & { readonly id: string },
): Promise<GrantRecord> {
  checkGrant(grant)
  checkId(id)
  await changing(control, actor, async (tx, record) => {
    if (!(await updateGrant(tx, id, toRecord(grant)))) throw unknown(id)
    await record({ action: 'grant.change', target: id, detail: describeGrant(grant) })
  })
  return getGrant(control, id)
}

/** @throws RegistryError NAME_UNKNOWN */
export async function removeGrant(control: AccessControl, actor: Actor, id: string): Promise<void> {
  checkId(id)
  await changing(control, actor, async (tx, record) => {
    const grant = await findGrant(tx, id)
    if (grant === undefined || !(await deleteGrant(tx, id))) throw unknown(id)
    await record({ action: 'grant.remove', target: id, detail: describeGrant(grant) })
  })
}

/** @throws RegistryError NAME_UNKNOWN */
export async function getGrant({ db }: AccessControl, id: string): Promise<GrantRecord> {
  checkId(id)
  const grant = await findGrant(db, id)
  if (grant === undefined) throw unknown(id)
  return grant
}

/** One page in the order they were made, those after the id `after`; '' to begin. */
export async function getGrants(
  { db }: AccessControl,
  filter: { readonly subject: string | undefined },
  page: { readonly after: string; readonly limit: number },
): Promise<GrantRecord[]> {
  if (page.after !== '') checkId(page.after)
  return listGrants(db, filter, page)
}

/** @throws RegistryError NAME_INVALID, TAG_INVALID, or UNSUPPORTED with status 400 */
export function checkCoverage({ repositories, tags, actions }: Coverage): void {
  const lists = [repositories, actions, ...(tags === undefined ? [] : [tags])]
  if (lists.some((list) => list.length === 0 || list.length > MOST)) {
    throw refused(400, `1 to ${MOST} repositories, tags and actions are expected`)
  }
  repositories.forEach(checkRepositoryGlob)
  tags?.forEach(checkTagGlob)
  const stray = actions.find((action) => !ACTIONS.includes(action))
  if (stray !== undefined) throw refused(400, `expected ${ACTIONS.join(', ')}, not ${stray}`)
}

const MOST = 100

function checkGrant(grant: NewGrant): void {
  checkSubject(grant.subject)
  checkCoverage(grant)
}

/** `allow user:alice pull, push on team/**`, as people read it. */
export function describeGrant({
  effect,
  subject,
  actions,
  repositories,
  tags,
}: Pick<GrantRecord, 'effect' | 'subject' | 'actions' | 'repositories'> & {
  readonly tags?: readonly string[] | null | undefined
}): string {
  const named = tags ? `, tags ${tags.join(' ')}` : ''
  return `${effect} ${subject} ${actions.join(', ')} on ${repositories.join(' ')}${named}`
}

function toRecord({ effect, subject, repositories, tags, actions, description = '' }: NewGrant) {
  return { effect, subject, repositories, tags: tags ?? null, actions, description }
}

function checkId(id: string): void {
  if (!/^[1-9]\d{0,17}$/.test(id)) throw unknown(id)
}

function unknown(id: string): RegistryError {
  return new RegistryError('NAME_UNKNOWN', `there is no grant ${id.slice(0, 20)}`)
}
