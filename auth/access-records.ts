import { LRUCache } from 'lru-cache'
import { findAccessVersion } from '../storage/metadata/access-version.ts'
import {
  type Account,
  type AccountId,
  findAccount,
  hasAccounts,
} from '../storage/metadata/accounts.ts'
import { type Credential, findCredential } from '../storage/metadata/credentials.ts'
import type { Pool } from '../storage/metadata/database.ts'
import { type GrantRecord, readAllGrants } from '../storage/metadata/grants.ts'
import { type AccessRules, NO_RULES } from './rules/access-file.ts'
import type { Action, Grant } from './rules/grant.ts'
import { Policy } from './rules/policy.ts'
import type { AccessToken } from './tokens/access-token.ts'
import { loadSigningKeys, type SigningKeys } from './tokens/signing-keys.ts'

/** Whether changes by other processes are known here in time. */
interface Hearing {
  areHeard(): boolean
}

export interface AccessRecordsOptions {
  /** Undefined where nobody else writes to the database. */
  readonly hearing: Hearing | undefined
  readonly rules?: () => AccessRules
}

/** An entry that is not there has not been read. */
export interface Remembered {
  readonly policy: Policy
  /** Whether there is any account. */
  readonly anybody: boolean | undefined
  readonly tokens: Lookup<string, AccessToken>
  readonly accounts: Lookup<AccountId, Account>
  readonly credentials: Lookup<string, Credential>
}

interface Lookup<Key, Value> {
  get(key: Key): Value | undefined
}

// Room for them is taken as they come: with `max` all of it would be made ready at once.
const AT_MOST = { maxSize: 50_000, sizeCalculation: () => 1 }
const TOKEN_BYTES = 32 * 1024 * 1024
const TOKEN_MS = 300_000

/**
 * What the database and the access file say of who may do what, remembered while it is true.
 *
 * While changes by other processes are heard, everything read is kept until one comes. While they
 * are not, each {@link refresh} asks the database for the number of the last change, and a new one
 * ends all that was remembered. What is read while a change comes is not kept.
 */
export class AccessRecords {
  readonly #db: Pool
  readonly #hearing: Hearing | undefined
  readonly #rules: () => AccessRules
  readonly #accounts = new LRUCache<AccountId, Account>(AT_MOST)
  readonly #credentials = new LRUCache<string, Credential>(AT_MOST)
  /** Tokens whose signature was verified. */
  readonly #tokens = new LRUCache<string, AccessToken>({
    maxSize: TOKEN_BYTES,
    // Keys of another service may be withdrawn, of which nobody hears.
    ttl: TOKEN_MS,
    ttlResolution: 1000,
    sizeCalculation: (_token, text) => 4 * text.length + 512,
  })
  #policy: Policy | undefined
  #keys: SigningKeys | undefined
  #anybody: boolean | undefined
  #changes = 0
  /** The last known number of a change; undefined: not known. */
  #version: string | undefined
  /** Whether every change was heard since {@link #version} was read. */
  #isHeard: boolean

  constructor(db: Pool, { hearing, rules = () => NO_RULES }: AccessRecordsOptions) {
    this.#db = db
    this.#hearing = hearing
    this.#rules = rules
    this.#isHeard = hearing === undefined
  }

  get rules(): AccessRules {
    return this.#rules()
  }

  /** To be awaited before what is remembered is used, once for each request. */
  refresh(): Promise<void> | undefined {
    if (this.#hearing === undefined) return undefined
    const isHeard = this.#hearing.areHeard()
    if (isHeard && this.#isHeard) return undefined
    this.#isHeard = false
    return this.#compare(isHeard)
  }

  /** What is remembered, if it is current, for who would rather not wait. */
  remembered(): Remembered | undefined {
    const isCurrent = this.#hearing === undefined || (this.#isHeard && this.#hearing.areHeard())
    if (!isCurrent || this.#policy === undefined) return undefined
    return {
      policy: this.#policy,
      anybody: this.#anybody,
      tokens: this.#tokens,
      accounts: this.#accounts,
      credentials: this.#credentials,
    }
  }

  /** For a change by this process, or one that was heard of. */
  forget(): void {
    this.#changes++
    this.#version = undefined
    this.#isHeard = this.#hearing === undefined
    this.#accounts.clear()
    this.#credentials.clear()
    this.#tokens.clear()
    this.#policy = undefined
    this.#keys = undefined
    this.#anybody = undefined
  }

  /** Makes room of tokens that are to be verified anew anyway. */
  dropStale(): void {
    this.#tokens.purgeStale()
  }

  account(id: AccountId): Account | Promise<Account | undefined> {
    return (
      this.#accounts.get(id) ??
      this.#read(
        () => findAccount(this.#db, id),
        (account) => this.#accounts.set(id, account),
      )
    )
  }

  credential(id: string): Credential | Promise<Credential | undefined> {
    return (
      this.#credentials.get(id) ??
      this.#read(
        () => findCredential(this.#db, id),
        (credential) => this.#credentials.set(id, credential),
      )
    )
  }

  /** A token that {@link AccessRecords} remembers, or what `verify` says of it. */
  token(text: string, verify: () => Promise<AccessToken>): AccessToken | Promise<AccessToken> {
    return this.#tokens.get(text) ?? this.#verify(text, verify)
  }

  policy(): Policy | Promise<Policy> {
    return this.#policy ?? this.#readPolicy()
  }

  async #readPolicy(): Promise<Policy> {
    const read = async () => {
      const records = await readAllGrants(this.#db)
      return new Policy([...this.#rules().grants, ...records.map(toGrant)])
    }
    return this.#keep(read, (policy) => {
      this.#policy = policy
    })
  }

  /** Undefined before the first key was made. */
  keys(): SigningKeys | Promise<SigningKeys | undefined> {
    return (
      this.#keys ??
      this.#read(
        () => loadSigningKeys(this.#db),
        (keys) => {
          this.#keys = keys
        },
      )
    )
  }

  /** Whether there is any account. */
  hasAccounts(): boolean | Promise<boolean> {
    if (this.#anybody !== undefined) return this.#anybody
    return this.#keep(
      () => hasAccounts(this.#db),
      (some) => {
        this.#anybody = some
      },
    )
  }

  async #verify(text: string, verify: () => Promise<AccessToken>): Promise<AccessToken> {
    return this.#keep(verify, (token) => this.#tokens.set(text, token))
  }

  async #read<Value extends {}>(
    read: () => Promise<Value | undefined>,
    keep: (value: Value) => void,
  ): Promise<Value | undefined> {
    return this.#keep(read, (value) => {
      if (value !== undefined) keep(value)
    })
  }

  async #keep<Value>(read: () => Promise<Value>, keep: (value: Value) => void): Promise<Value> {
    const changes = this.#changes
    const value = await read()
    if (changes === this.#changes) keep(value)
    return value
  }

  async #compare(isHeard: boolean): Promise<void> {
    const changes = this.#changes
    const version = await findAccessVersion(this.#db)
    if (changes !== this.#changes) return
    if (version !== this.#version) {
      this.forget()
      this.#version = version
    }
    // Heard before the number was read: whatever comes after it will be heard.
    this.#isHeard = isHeard
  }
}

export function toGrant(record: GrantRecord): Grant {
  return {
    origin: `grant ${record.id}`,
    effect: record.effect,
    subject: record.subject,
    repositories: record.repositories,
    tags: record.tags ?? undefined,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked before it was stored
    actions: record.actions as Action[],
  }
}
