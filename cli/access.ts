import { userInfo } from 'node:os'
import type { AccessControl, Actor } from '../auth/access-control.ts'
import type { Config } from '../config/config.ts'
import { openAccessControl } from '../server/access-control.ts'
import { openPool } from '../storage/metadata/database.ts'
import { announcements } from './announcements.ts'
import { configurationOf } from './configuration.ts'
import { joinDatabase } from './joined-database.ts'
import { createQuietLog } from './quiet-log.ts'
import type { CommandOptions } from './usage.ts'

export interface Access {
  readonly control: AccessControl
  /** Who the audit trail says it was. */
  readonly actor: Actor
  readonly config: Config
}

const CONNECTIONS = 4
const STATEMENT_MS = 8000

/** Runs `work` on the accounts and rules of the database, and leaves it when that is done. */
export async function withAccess<T>(
  options: CommandOptions & { readonly creates?: boolean },
  work: (access: Access) => Promise<T>,
): Promise<T> {
  const config = configurationOf(options)
  const log = createQuietLog()
  const database = await joinDatabase({ config, log, creates: options.creates ?? false })
  const { connection, isShared } = database
  let isEnding = false
  const db = openPool({
    connection,
    size: CONNECTIONS,
    statementMs: STATEMENT_MS,
    // A server of our own may stop before the last connection has heard that it was closed.
    onError: (error) => isEnding || log.warn({ err: error }, 'database connection lost'),
  })
  try {
    const opened = await openAccessControl({ config, db, changes: undefined, shared: false, log })
    const changes = isShared ? announcements({ db, connection, log }) : undefined
    try {
      return await work({ control: { ...opened.control, changes }, actor: operator(), config })
    } finally {
      await opened.close()
    }
  } finally {
    isEnding = true
    await db.end()
    await database.close()
  }
}

/** Whoever can reach the database may do everything; the trail tells which user of the machine. */
function operator(): Actor {
  try {
    return { subject: `command line:${userInfo().username}` }
  } catch {
    // A user without an entry in /etc/passwd.
    return { subject: `command line:${process.geteuid?.() ?? 'unknown'}` }
  }
}
