import { RegistryError } from '../../oci/errors.ts'
import {
  type Account,
  type AccountChange,
  type AccountKind,
  countAdmins,
  deleteAccount,
  findAccountByName,
  hasAccounts,
  insertAccount,
  listAccounts,
  updateAccount,
} from '../../storage/metadata/accounts.ts'
import { deleteCredentials } from '../../storage/metadata/credentials.ts'
import type { Transaction } from '../../storage/metadata/database.ts'
import type { AccessControl, Actor } from '../access-control.ts'
import { changing } from '../changing.ts'
import { logIn } from '../login.ts'
import { checkNewPassword, hashPassword } from '../passwords/passwords.ts'
import { checkName } from '../rules/subject.ts'
import { Unauthorized } from '../tokens/challenge.ts'
import { createSecret, kindOfSecret } from '../tokens/secrets.ts'

export type { Account, AccountKind }

/** An account that an operation names. */
export interface AccountKey {
  readonly kind: AccountKind
  readonly name: string
}

export interface NewUser {
  readonly name: string
  /** Undefined: no password opens it, until one is set. */
  readonly password: string | undefined
  readonly description?: string | undefined
  readonly admin?: boolean | undefined
  readonly expiresAt?: Date | undefined
}

/**
 * Where everybody is let in until there is an account, the first one has to be an administrator
 * with a password.
 *
 * @throws RegistryError NAME_INVALID, UNSUPPORTED with status 400 for the password, and with 409
 *   for a name taken and a first account that is none to begin with
 */
export async function addUser(
  control: AccessControl,
  actor: Actor,
  user: NewUser,
): Promise<Account> {
  const { name, password } = user
  checkName(name)
  if (password !== undefined) checkNewPassword(password)
  const passwordHash = password === undefined ? undefined : await hashPassword(password)
  return add(control, actor, { kind: 'user', ...user, passwordHash, secretHash: undefined })
}

export interface NewRobot {
  readonly name: string
  readonly description?: string | undefined
  readonly admin?: boolean | undefined
  readonly expiresAt?: Date | undefined
}

/**
 * @returns the robot and its secret, which can never be read again
 * @throws RegistryError NAME_INVALID, UNSUPPORTED with status 409 as {@link addUser}
 */
export async function addRobot(
  control: AccessControl,
  actor: Actor,
  robot: NewRobot,
): Promise<{ readonly account: Account; readonly secret: string }> {
  checkName(robot.name)
  const { secret, hash: secretHash } = createSecret('robot')
  const account = await add(control, actor, {
    kind: 'robot',
    ...robot,
    passwordHash: undefined,
    secretHash,
  })
  return { account, secret }
}

/** A new secret for a robot. Of the old one, and of tokens it obtained, nothing is good any more. */
export async function renewRobotSecret(
  control: AccessControl,
  actor: Actor,
  name: string,
): Promise<{ readonly account: Account; readonly secret: string }> {
  const { secret, hash: secretHash } = createSecret('robot')
  const account = await change(
    control,
    actor,
    { kind: 'robot', name },
    {
      action: 'robot.renew',
      change: { secretHash, revokesTokens: true },
    },
  )
  return { account, secret }
}

export interface AccountEdit {
  readonly description?: string | undefined
  /** Of a user. */
  readonly password?: string | undefined
  readonly admin?: boolean | undefined
  readonly disabled?: boolean | undefined
  /** null: never. */
  readonly expiresAt?: Date | null | undefined
}

/**
 * Changes what is given. A new password, and disabling, end every token and login of the account.
 *
 * @throws RegistryError NAME_UNKNOWN, UNSUPPORTED with status 400 for the password, and 409 when no
 *   administrator would be left
 */
export async function editAccount(
  control: AccessControl,
  actor: Actor,
  key: AccountKey,
  { password, ...edit }: AccountEdit,
): Promise<Account> {
  if (password !== undefined) {
    if (key.kind === 'robot') throw refused(400, 'a robot has a secret, and no password')
    checkNewPassword(password)
  }
  const passwordHash = password === undefined ? undefined : await hashPassword(password)
  const revokesTokens = password !== undefined || edit.disabled === true
  const changed = Object.entries({ ...edit, password }).filter(([, value]) => value !== undefined)
  return change(control, actor, key, {
    action: `${key.kind}.change`,
    detail: changed.map(([field]) => field).join(', '),
    change: { ...edit, passwordHash, revokesTokens },
  })
}

export interface PasswordChange {
  /** Of the user. */
  readonly name: string
  readonly current: string
  readonly password: string
}

/**
 * Changes the password of a user who knows it; otherwise as {@link editAccount}.
 *
 * @throws RegistryError DENIED when `current` is wrong, TOOMANYREQUESTS when it was too often
 */
export async function changePassword(
  control: AccessControl,
  actor: Actor,
  { name, current, password }: PasswordChange,
): Promise<void> {
  const wrong = new RegistryError('DENIED', 'the current password is another one')
  // A token logs in as well, but whoever found one must not come by the account itself.
  if (kindOfSecret(current) !== undefined) throw wrong
  try {
    await logIn(control, { name, password: current }, actor.address ?? '')
  } catch (error) {
    throw error instanceof Unauthorized ? wrong : error
  }
  await editAccount(control, actor, { kind: 'user', name }, { password })
}

/**
 * Removes the account with its tokens and the grants that name it.
 *
 * @throws RegistryError NAME_UNKNOWN, and UNSUPPORTED with status 409 when no administrator would be left
 */
export async function removeAccount(
  control: AccessControl,
  actor: Actor,
  key: AccountKey,
): Promise<void> {
  await changing(control, actor, async (tx, record) => {
    await keepingAnAdmin(tx, async () => {
      if (!(await deleteAccount(tx, key))) throw unknown(key)
    })
    await record({ action: `${key.kind}.remove`, target: key.name })
  })
}

/** @throws RegistryError NAME_UNKNOWN */
export async function getAccount({ db }: AccessControl, key: AccountKey): Promise<Account> {
  const account = await findAccountByName(db, key.name)
  if (account?.kind !== key.kind) throw unknown(key)
  const { passwordHash: _secret, ...rest } = account
  return rest
}

/** Whether there is a user of that name, with an account. */
export async function isUser({ db }: AccessControl, name: string): Promise<boolean> {
  return (await findAccountByName(db, name))?.kind === 'user'
}

/** One page in the byte order of names, those after `after`. */
export function getAccounts(
  { db }: AccessControl,
  kind: AccountKind,
  page: { readonly after: string; readonly limit: number },
): Promise<Account[]> {
  return listAccounts(db, kind, page)
}

interface Added extends Omit<NewUser, 'password'> {
  readonly kind: AccountKind
  readonly passwordHash: string | undefined
  readonly secretHash: Buffer | undefined
}

async function add(control: AccessControl, actor: Actor, added: Added): Promise<Account> {
  const { kind, name, description = '', admin = false, expiresAt } = added
  await changing(
    control,
    actor,
    async (tx, record) => {
      const isFirst = control.mode === 'first account' && !(await hasAccounts(tx))
      const account = { ...added, description, admin, expiresAt, createdBy: actor.subject }
      if (!(await insertAccount(tx, account))) throw refused(409, `the name ${name} is taken`)
      if (isFirst) await requireWayIn(tx, added)
      else if (control.mode === 'first account' && actor.subject === undefined) {
        throw new Unauthorized({ scopes: [] }, 'somebody was faster: there is an account')
      }
      await record({ action: `${kind}.add`, target: name, ...(admin ? { detail: 'admin' } : {}) })
    },
    false,
  )
  return getAccount(control, { kind, name })
}

/** With the first account everybody else is shut out, so somebody has to get in with it. */
async function requireWayIn(tx: Transaction, { kind, passwordHash }: Added): Promise<void> {
  const opens = kind === 'user' && passwordHash !== undefined && (await countAdmins(tx)) > 0
  if (!opens) {
    throw refused(
      409,
      'the first account has to be a user with a password, and an administrator (--admin)',
    )
  }
}

interface Change {
  readonly action: string
  readonly detail?: string
  readonly change: AccountChange
}

async function change(
  control: AccessControl,
  actor: Actor,
  key: AccountKey,
  { action, detail, change: changed }: Change,
): Promise<Account> {
  return changing(control, actor, async (tx, record) => {
    const account = await keepingAnAdmin(tx, () => updateAccount(tx, key, changed))
    if (account === undefined) throw unknown(key)
    if (changed.revokesTokens) await deleteCredentials(tx, account.id)
    await record({ action, target: key.name, detail })
    return account
  })
}

/** Who takes the last administrator away locks everybody out. */
async function keepingAnAdmin<T>(tx: Transaction, work: () => Promise<T>): Promise<T> {
  const before = await countAdmins(tx)
  const result = await work()
  if (before > 0 && (await countAdmins(tx)) === 0) {
    throw refused(409, 'no administrator would be left')
  }
  return result
}

function unknown({ kind, name }: AccountKey): RegistryError {
  return new RegistryError('NAME_UNKNOWN', `there is no ${kind} ${name}`)
}

export function refused(status: 400 | 409, detail: string): RegistryError {
  return new RegistryError('UNSUPPORTED', detail, { status })
}
