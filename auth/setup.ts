import { randomBytes } from 'node:crypto'
import { hasAccounts, insertAccount } from '../storage/metadata/accounts.ts'
import { readSigningKeys } from '../storage/metadata/signing-keys.ts'
import type { AccessControl, Actor } from './access-control.ts'
import { changing } from './changing.ts'
import { checkNewPassword, hashPassword } from './passwords/passwords.ts'
import { addSigningKey } from './tokens/signing-keys.ts'

const SERVER: Actor = { subject: 'server' }

const FIRST_ADMIN = 'admin'

/**
 * Makes the user `admin` where there is no account at all. Of several processes that start at
 * once one does.
 *
 * @param given its password; made up when undefined
 * @returns the password when it was made up, for somebody to read: it is kept nowhere
 * @throws RegistryError for a password that is too short
 */
export async function createFirstAdmin(
  control: AccessControl,
  given: string | undefined,
): Promise<string | undefined> {
  if (await hasAccounts(control.db)) return undefined
  if (given !== undefined) checkNewPassword(given)
  const password = given ?? randomBytes(18).toString('base64url')
  const passwordHash = await hashPassword(password)
  const created = await changing(
    control,
    SERVER,
    async (tx, record) => {
      if (await hasAccounts(tx)) return false
      await insertAccount(tx, {
        kind: 'user',
        name: FIRST_ADMIN,
        description: 'made at the first start',
        passwordHash,
        secretHash: undefined,
        admin: true,
        expiresAt: undefined,
        createdBy: SERVER.subject,
      })
      await record({ action: 'user.add', target: FIRST_ADMIN })
      return true
    },
    false,
  )
  return created && given === undefined ? password : undefined
}

/** Makes a key to sign with, when there is none or the newest is older than `days`; 0: any will do. */
export async function ensureSigningKey(control: AccessControl, days: number): Promise<void> {
  const oldest = days === 0 ? 0 : Date.now() - days * 86_400_000
  const isDue = async (db: Parameters<typeof readSigningKeys>[0]) => {
    const [newest] = await readSigningKeys(db)
    return newest === undefined || newest.createdAt.getTime() < oldest
  }
  if (!(await isDue(control.db))) return
  await changing(
    control,
    SERVER,
    async (tx, record) => {
      if (!(await isDue(tx))) return
      const target = await addSigningKey(tx, control.terms.seconds)
      await record({ action: 'key.add', target })
    },
    false,
  )
}

/** A new key to sign with, now. Tokens signed with the one before stay good. */
export async function rotateSigningKey(control: AccessControl, actor: Actor): Promise<string> {
  return changing(control, actor, async (tx, record) => {
    const target = await addSigningKey(tx, control.terms.seconds)
    await record({ action: 'key.add', target })
    return target
  })
}
