import type { Logger } from 'pino'
import type { AccessControl, AuthMode } from '../auth/access-control.ts'
import { AccessRecords } from '../auth/access-records.ts'
import { AuditTrail } from '../auth/audit.ts'
import { type ExternalTokens, openExternalTokens } from '../auth/external-tokens.ts'
import { type Htpasswd, openHtpasswd } from '../auth/passwords/htpasswd.ts'
import { LoginThrottle } from '../auth/passwords/login-throttle.ts'
import { PasswordVerifier } from '../auth/passwords/passwords.ts'
import { type AccessFile, NO_RULES, openAccessFile } from '../auth/rules/access-file.ts'
import { createFirstAdmin, ensureSigningKey } from '../auth/setup.ts'
import { TrustedIssuers } from '../auth/trusted-issuers.ts'
import { type Config, listensOnLoopback } from '../config/config.ts'
import type { Changes } from '../storage/metadata/changes.ts'
import type { Pool } from '../storage/metadata/database.ts'

export interface AccessControlOptions {
  readonly config: Config
  readonly db: Pool
  /** Undefined in a program that changes rules and serves nothing. */
  readonly changes: Changes | undefined
  /** Other processes that serve remember what this one changes. */
  readonly shared: boolean
  readonly aliases?: AccessControl['aliases']
  readonly log: Logger
}

export interface OpenAccessControl {
  readonly control: AccessControl
  /**
   * Makes a key to sign with, and somebody to begin with, where there are none.
   *
   * @returns the password of the user `admin` when it was made up: it is kept nowhere
   */
  prepare(): Promise<string | undefined>
  close(): Promise<void>
}

/** Builds what decides who may do what. @throws when a file it needs is not usable */
export async function openAccessControl(options: AccessControlOptions): Promise<OpenAccessControl> {
  const { config, db, changes, shared, aliases, log } = options
  const closing: { close(): void }[] = []
  try {
    const onChange = () => records.forget()
    const file = await openFile(config, { log, onChange })
    if (file !== undefined) closing.push(file)
    const rules = () => file?.content ?? NO_RULES
    const records: AccessRecords = new AccessRecords(db, { hearing: changes, rules })
    changes?.on('access changed', onChange)
    const verifier = new PasswordVerifier()
    const htpasswd = await openUsers(config, { verifier, log, onChange })
    if (htpasswd !== undefined) closing.push(htpasswd)
    const external = await openService(config, log)
    if (external !== undefined) closing.push(external)
    const audit = new AuditTrail(db, { log })
    const control: AccessControl = {
      db,
      mode: modeOf(config),
      records,
      changes: shared ? changes : undefined,
      terms: {
        service: config['tokens.service'],
        seconds: config['tokens.seconds'],
        identitySeconds: config['tokens.identityDays'] * 86_400,
        now: () => new Date(),
      },
      verifier,
      throttle: new LoginThrottle(db),
      htpasswd,
      external,
      issuers: new TrustedIssuers({ issuers: () => records.rules.issuers, db, log }),
      audit,
      aliases,
      log,
    }
    return {
      control,
      prepare: () => prepare(control, config),
      close: async () => {
        closing.forEach((each) => each.close())
        await audit.close()
      },
    }
  } catch (error) {
    closing.forEach((each) => each.close())
    throw error
  }
}

async function prepare(control: AccessControl, config: Config): Promise<string | undefined> {
  if (control.mode === 'none' || control.mode === 'external') return undefined
  await ensureSigningKey(control, config['tokens.keyDays'])
  const given = config.adminPassword
  if (control.mode === 'first account' && given === undefined) return undefined
  return createFirstAdmin(control, given)
}

/** Who has said anything of access, or has a proxy in front, does not mean everybody. */
function modeOf(config: Config): AuthMode {
  if (config.auth !== undefined) return config.auth
  const isUntouched =
    config['access.file'] === undefined &&
    config['access.htpasswd'] === undefined &&
    config.trustedProxies.length === 0
  return isUntouched && listensOnLoopback(config) ? 'first account' : 'token'
}

async function openFile(
  config: Config,
  options: Parameters<typeof openAccessFile>[1],
): Promise<AccessFile | undefined> {
  const file = config['access.file']
  return file === undefined ? undefined : openAccessFile(file, options)
}

async function openUsers(
  config: Config,
  options: Parameters<typeof openHtpasswd>[1],
): Promise<Htpasswd | undefined> {
  const file = config['access.htpasswd']
  return file === undefined ? undefined : openHtpasswd(file, options)
}

async function openService(config: Config, log: Logger): Promise<ExternalTokens | undefined> {
  const issuer = config['tokens.issuer']
  if (config.auth !== 'external' || issuer === undefined) return undefined
  const service = config['tokens.service']
  const jwks = config['tokens.jwks']
  const rootCertificates = config['tokens.rootCertificates']
  return openExternalTokens({
    issuer,
    service,
    log,
    ...(jwks === undefined ? {} : { jwks }),
    ...(rootCertificates === undefined ? {} : { rootCertificates }),
  })
}
