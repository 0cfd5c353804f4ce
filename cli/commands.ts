import { AUDIT_COMMAND } from './commands/audit.ts'
import { checkConfig } from './commands/config.ts'
import { DOCTOR_COMMAND } from './commands/doctor.ts'
import { EXPLAIN_COMMAND } from './commands/explain.ts'
import { GC_COMMANDS } from './commands/gc.ts'
import { GRANT_COMMANDS } from './commands/grants.ts'
import { GROUP_COMMANDS } from './commands/groups.ts'
import { KEY_COMMAND } from './commands/keys.ts'
import { LEASE_COMMANDS } from './commands/leases.ts'
import { migrateDatabase } from './commands/migrate.ts'
import { REPOSITORY_COMMANDS } from './commands/repositories.ts'
import { RETENTION_COMMANDS } from './commands/retention.ts'
import { ROBOT_COMMANDS } from './commands/robots.ts'
import { serve } from './commands/serve.ts'
import { SIZE_COMMAND } from './commands/size.ts'
import { TAG_COMMANDS } from './commands/tags.ts'
import { TOKEN_COMMANDS } from './commands/tokens.ts'
import { UPSTREAM_CONTENT_COMMANDS } from './commands/upstream-content.ts'
import { UPSTREAM_COMMANDS } from './commands/upstreams.ts'
import { USER_COMMANDS } from './commands/users.ts'
import { printVersion } from './commands/version.ts'
import type { Command } from './usage.ts'

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  { name: 'serve', text: 'run the registry', settings: 'listed', run: serve },
  {
    name: 'migrate',
    text: 'bring the database up to date',
    settings: 'listed',
    run: migrateDatabase,
  },
  {
    name: 'config check',
    text: 'check the configuration',
    settings: 'listed',
    switches: { probe: 'Try the storage, and the database if it is a server of its own.' },
    run: checkConfig,
  },
  { name: 'version', text: 'print the version', settings: 'none', run: printVersion },
  ...USER_COMMANDS,
  ...ROBOT_COMMANDS,
  ...GROUP_COMMANDS,
  ...TOKEN_COMMANDS,
  ...GRANT_COMMANDS,
  EXPLAIN_COMMAND,
  AUDIT_COMMAND,
  KEY_COMMAND,
  ...TAG_COMMANDS,
  ...REPOSITORY_COMMANDS,
  ...LEASE_COMMANDS,
  ...RETENTION_COMMANDS,
  SIZE_COMMAND,
  ...UPSTREAM_COMMANDS,
  ...UPSTREAM_CONTENT_COMMANDS,
  ...GC_COMMANDS,
  DOCTOR_COMMAND,
]
