import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

/** A user of this machine. Ids are unsigned, as stat gives them. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** Runs with the capability to pass through folders that are closed to it: see passage.ts. */
  readonly passesClosedFolders?: true
}

// Debian and most images call it postgres, macOS _postgres; nobody exists nearly everywhere.
const CANDIDATES = ['postgres', '_postgres', 'nobody']

/**
 * Who Postgres runs as when we are root, because it refuses to run as root; undefined when we are not
 * root, and it runs as we do.
 *
 * @throws EmbeddedPostgresUnavailable when we are root and no unprivileged user exists
 */
export async function findServerAccount(): Promise<Account | undefined> {
  if (process.geteuid?.() !== 0) return undefined
  const accounts = parsePasswd(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  for (const name of CANDIDATES) {
    const account = accounts.get(name)
    if (account !== undefined && account.uid !== 0) return account
  }
  throw new EmbeddedPostgresUnavailable(
    'Postgres does not run as root, and this machine has neither a user "postgres" nor "nobody" to run it as.',
  )
}

/** Whether the user we run as has a passwd entry; initdb does not work without one. */
export function hasPasswdEntry(): boolean {
  try {
    userInfo()
    return true
  } catch {
    return false
  }
}

export interface AccountCommand {
  readonly file: string
  readonly args: readonly string[]
  /** For `spawn`. */
  readonly identity: { readonly uid?: number; readonly gid?: number }
}

/** How `file` is run as `account`; undefined for as we do. */
export function commandAs(
  account: Account | undefined,
  file: string,
  args: readonly string[],
): AccountCommand {
  if (account === undefined) return { file, args, identity: {} }
  const { uid, gid } = account
  if (account.passesClosedFolders) {
    const change = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
    const keep = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search']
    return { file: 'setpriv', args: [...change, ...keep, '--', file, ...args], identity: {} }
  }
  // spawn wants signed 32-bit numbers, and nobody on macOS is -2.
  return { file, args, identity: { uid: uid | 0, gid: gid | 0 } }
}

function parsePasswd(text: string): ReadonlyMap<string, Account> {
  const accounts = new Map<string, Account>()
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    if (name === undefined || !/^-?\d+$/.test(uid ?? '') || !/^-?\d+$/.test(gid ?? '')) continue
    accounts.set(name, { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 })
  }
  return accounts
}
