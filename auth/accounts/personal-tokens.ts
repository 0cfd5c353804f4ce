import { randomUUID } from 'node:crypto'
import { RegistryError } from '../../oci/errors.ts'
import { findAccountByName } from '../../storage/metadata/accounts.ts'
import {
  type Credential,
  deleteCredential,
  findCredential,
  insertCredential,
  listCredentials,
} from '../../storage/metadata/credentials.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import type { AccessControl, Actor } from '../access-control.ts'
import { changing } from '../changing.ts'
import type { Coverage } from '../rules/grant.ts'
import { checkName } from '../rules/subject.ts'
import { createSecret } from '../tokens/secrets.ts'
import { refused } from './accounts.ts'
import { checkCoverage } from './grants.ts'

export type { Credential }

export interface NewPersonalToken {
  /** Of the account, a user's. */
  readonly account: string
  /** Chosen by its owner, one of a kind among the owner's. */
  readonly name: string
  /** The most it may do; undefined: as much as the account, now and later. */
  readonly coverage?: readonly Coverage[] | undefined
  /** How long it is good for; undefined: for ever. */
  readonly seconds?: number | undefined
}

/** Of one account; as many as a list of them shows. */
const MOST_TOKENS = 1000

/**
 * A secret by which programs log in as the account, and do no more than it is narrowed to.
 *
 * @returns the token and its secret, which can never be read again
 * @throws RegistryError NAME_INVALID, NAME_UNKNOWN, UNSUPPORTED with status 400, and with 409 when
 *   the account has one of that name, or 1000 of them
 */
export async function addPersonalToken(
  control: AccessControl,
  actor: Actor,
  token: NewPersonalToken,
): Promise<{ readonly credential: Credential; readonly secret: string }> {
  checkName(token.name)
  checkCoverages(token.coverage ?? [])
  const { secret, hash: secretHash } = createSecret('personal')
  const id = randomUUID()
  const credential = await changing(
    control,
    actor,
    async (tx, record) => {
      const account = await requireUser(tx, token.account)
      if ((await listCredentials(tx, account.id, 'personal')).length >= MOST_TOKENS) {
        throw refused(409, `${account.name} has ${MOST_TOKENS} tokens`)
      }
      const inserted = await insertCredential(tx, {
        id,
        kind: 'personal',
        accountId: account.id,
        parentId: undefined,
        subject: `user:${account.name}`,
        name: token.name,
        secretHash,
        coverage: token.coverage,
        generation: undefined,
        revision: undefined,
        seconds: token.seconds,
      })
      if (!inserted) throw refused(409, `${account.name} has a token ${token.name}`)
      await record({ action: 'token.add', target: account.name, detail: token.name })
      return (await findCredential(tx, id))!
    },
    false,
  )
  return { credential, secret }
}

/** What was obtained with it ends as well. @throws RegistryError NAME_UNKNOWN */
export async function removePersonalToken(
  control: AccessControl,
  actor: Actor,
  { account: name, id }: { readonly account: string; readonly id: string },
): Promise<void> {
  await changing(control, actor, async (tx, record) => {
    const account = await requireUser(tx, name)
    const credential = UUID.test(id) ? await findCredential(tx, id) : undefined
    const deleted =
      credential !== undefined && (await deleteCredential(tx, { id, accountId: account.id }))
    if (!deleted) throw new RegistryError('NAME_UNKNOWN', 'there is no such token')
    await record({ action: 'token.remove', target: name, detail: credential.name })
  })
}

/** The account's tokens, and the logins its clients keep, oldest first. @throws RegistryError NAME_UNKNOWN */
export async function getPersonalTokens(
  control: AccessControl,
  name: string,
): Promise<{ readonly tokens: readonly Credential[]; readonly logins: readonly Credential[] }> {
  const { id } = await requireUser(control.db, name)
  const [tokens, logins] = await Promise.all([
    listCredentials(control.db, id, 'personal'),
    listCredentials(control.db, id, 'identity'),
  ])
  return { tokens, logins }
}

/** Each of them is looked at with each request, and anybody may make tokens. */
const MOST_GLOBS = 50

function checkCoverages(coverages: readonly Coverage[]): void {
  coverages.forEach(checkCoverage)
  const globs = coverages.flatMap(({ repositories, tags = [] }) => [...repositories, ...tags])
  if (globs.length > MOST_GLOBS) throw refused(400, `more than ${MOST_GLOBS} globs`)
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

async function requireUser(db: Queryable, name: string) {
  const account = await findAccountByName(db, name)
  if (account?.kind !== 'user') throw new RegistryError('NAME_UNKNOWN', `there is no user ${name}`)
  return account
}
