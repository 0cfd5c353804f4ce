import type { Account } from '../storage/metadata/accounts.ts'
import { ACTIONS, type Coverage, type Subject } from './rules/grant.ts'

/** Who asks, as far as rules care. */
export interface Principal {
  /** The name in history and audit, the owner of uploads; undefined: anonymous. */
  readonly subject: Subject | undefined
  /** Every subject of a grant that means this one. */
  readonly subjects: readonly Subject[]
  /** What it may do besides what grants allow, unless one denies it. */
  readonly own: readonly Coverage[]
  /** The most it may do, whatever grants allow; undefined: no limit. */
  readonly limit: readonly Coverage[] | undefined
  /** May use the API for everything. */
  readonly admin: boolean
}

const EVERYTHING: readonly Coverage[] = [{ repositories: ['**'], actions: ACTIONS }]

/** For `auth: none`: whoever reaches the server. */
export const anyone: Principal = {
  subject: undefined,
  subjects: ['everyone', 'anonymous'],
  own: EVERYTHING,
  limit: undefined,
  admin: true,
}

export const anonymous: Principal = { ...anyone, own: [], admin: false }

/** `groups`: those of the access file that name the account, besides its own. */
export function principalOf(account: Account, groups: readonly string[]): Principal {
  const subject = `${account.kind}:${account.name}`
  const memberships = new Set([...account.groups, ...groups])
  return {
    subject,
    subjects: [subject, ...[...memberships].map((name) => `group:${name}`), ...KNOWN],
    own: account.admin ? EVERYTHING : [],
    limit: undefined,
    admin: account.admin,
  }
}

/** A user of the htpasswd file. */
export function fileUser(name: string, groups: readonly string[]): Principal {
  const subject = `user:${name}`
  const subjects = [subject, ...groups.map((group) => `group:${group}`), ...KNOWN]
  return { subject, subjects, own: [], limit: undefined, admin: false }
}

/** Who comes with rights of its own: a CI job, or the bearer of another service's token. */
export function stranger(subject: Subject, own: readonly Coverage[]): Principal {
  // Not `authenticated`: what its rule or its service gives is meant to be all.
  return { subject, subjects: [subject, 'everyone'], own, limit: undefined, admin: false }
}

const KNOWN: readonly Subject[] = ['authenticated', 'everyone']
