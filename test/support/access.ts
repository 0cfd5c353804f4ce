import type { Logger } from 'pino'
import type { AccessControl, AuthMode, Terms } from '../../auth/access-control.ts'
import { AccessRecords } from '../../auth/access-records.ts'
import { AuditTrail } from '../../auth/audit.ts'
import { LoginThrottle } from '../../auth/passwords/login-throttle.ts'
import { PasswordVerifier } from '../../auth/passwords/passwords.ts'
import { type AccessRules, NO_RULES } from '../../auth/rules/access-file.ts'
import { ensureSigningKey } from '../../auth/setup.ts'
import { TrustedIssuers } from '../../auth/trusted-issuers.ts'
import type { Changes } from '../../storage/metadata/changes.ts'
import type { Pool } from '../../storage/metadata/database.ts'

export interface TestAccessOptions
  extends Partial<Pick<AccessControl, 'htpasswd' | 'external' | 'throttle'>> {
  readonly mode?: AuthMode
  /** May be replaced while the server runs: say so by `records.forget()`. */
  readonly rules?: () => AccessRules
  readonly terms?: Partial<Terms>
  /** Of several servers on one database. */
  readonly changes?: Changes
}

/** What decides who may do what, over a database of a test; everything is allowed by default. */
export async function openTestAccess(
  db: Pool,
  log: Logger,
  { mode = 'none', rules = () => NO_RULES, terms, changes, ...others }: TestAccessOptions = {},
): Promise<AccessControl> {
  const records = new AccessRecords(db, { hearing: changes, rules })
  changes?.on('access changed', () => records.forget())
  const control: AccessControl = {
    db,
    mode,
    records,
    changes,
    terms: {
      service: 'slipway',
      seconds: 600,
      identitySeconds: 90 * 86_400,
      now: () => new Date(),
      ...terms,
    },
    verifier: new PasswordVerifier(),
    throttle: new LoginThrottle(db),
    issuers: new TrustedIssuers({ issuers: () => records.rules.issuers, db, log }),
    audit: new AuditTrail(db, { log, everyMs: 20 }),
    log,
    ...others,
  }
  if (mode !== 'none' && mode !== 'external') await ensureSigningKey(control, 0)
  return control
}
