import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { Account } from './account.ts'
import { runProgram } from './program.ts'
import type { EmbeddedLog } from './server-log.ts'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

/**
 * The account, able to reach `root`. Data of root often lies below a folder that only root may enter, such as
 * /root itself; then the server's user is given the one capability that lets it pass (CAP_DAC_READ_SEARCH),
 * by setpriv of util-linux. It stays an ordinary user in every other respect.
 *
 * @throws EmbeddedPostgresUnavailable when a folder above is closed and the capability cannot be given
 */
export async function withPassage(
  account: Account,
  root: string,
  log: EmbeddedLog,
): Promise<Account> {
  const closed = await findClosedFolder(root, account)
  if (closed === undefined) return account
  const capable: Account = { ...account, passesClosedFolders: true }
  if ((await runProgram('ls', ['-d', `${root}/.`], { account: capable })).succeeded) {
    log.info({ folder: closed, user: account.name }, 'Postgres passes through a closed folder')
    return capable
  }
  const { mode } = await stat(closed)
  throw new EmbeddedPostgresUnavailable(
    `Postgres does not run as root; it runs as user ${account.name} (uid ${account.uid}), which cannot enter ${closed} (mode ${(mode & 0o7777).toString(8)}) to reach ${root}. Put the data elsewhere (--data, for example under /var/lib), or let others pass through: chmod o+x '${closed}'.`,
  )
}

/** The first folder from the top that the account may not enter. */
async function findClosedFolder(root: string, account: Account): Promise<string | undefined> {
  const { root: top } = path.parse(root)
  let folder = top
  for (const name of ['', ...root.slice(top.length).split(path.sep)]) {
    folder = path.join(folder, name)
    const { mode, uid, gid } = await stat(folder)
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return folder
  }
  return undefined
}
