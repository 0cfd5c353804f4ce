import type { Logger } from 'pino'
import type { RepositoryName } from '../oci/reference.ts'
import type { Changes } from '../storage/metadata/changes.ts'
import type { Pool } from '../storage/metadata/database.ts'
import type { AccessRecords } from './access-records.ts'
import type { AuditTrail } from './audit.ts'
import type { ExternalTokens } from './external-tokens.ts'
import type { Htpasswd } from './passwords/htpasswd.ts'
import type { LoginThrottle } from './passwords/login-throttle.ts'
import type { PasswordVerifier } from './passwords/passwords.ts'
import type { TrustedIssuers } from './trusted-issuers.ts'

/**
 * How requests are let in. `first account`: everybody may do everything until there is an
 * account, and from then on it is `token`.
 */
export type AuthMode = 'none' | 'token' | 'external' | 'first account'

/** Everything the operations in this folder work on. Built once, in `server/compose.ts`. */
export interface AccessControl {
  readonly db: Pool
  readonly mode: AuthMode
  readonly records: AccessRecords
  /** Tells other processes of changes; undefined where there is none that remembers. */
  readonly changes?: Pick<Changes, 'settling' | 'announcing'> | undefined
  readonly terms: Terms
  readonly verifier: PasswordVerifier
  readonly throttle: LoginThrottle
  readonly htpasswd?: Htpasswd | undefined
  readonly external?: ExternalTokens | undefined
  readonly issuers: TrustedIssuers
  readonly audit: AuditTrail
  /** Names by which rules may know what clients call `name`, besides itself. */
  readonly aliases?: ((name: RepositoryName) => readonly RepositoryName[]) | undefined
  readonly log: Logger
}

export interface Terms {
  /** The audience of tokens, and their issuer. */
  readonly service: string
  /** Of an access token. */
  readonly seconds: number
  /** Of an identity token, from its last renewal. */
  readonly identitySeconds: number
  readonly now: () => Date
}

/** Who changes something, for the audit trail. */
export interface Actor {
  /** As grants name subjects; undefined: anonymous. */
  readonly subject: string | undefined
  readonly address?: string | undefined
  readonly requestId?: string | undefined
}
