import { CommandFailure, runCredentialCommand } from './credential-command.ts'
import { UpstreamFailure } from './failure.ts'
import type { UpstreamCredentials, UpstreamSettings } from './upstream.ts'

export type Secret =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, as `docker login` keeps it for some registries. */
  | { readonly kind: 'identity token'; readonly token: string }

/** What docker-credential helpers say instead of a name. */
const IDENTITY_TOKEN = '<token>'

export interface CredentialOptions {
  readonly commandMs: number
  readonly now: () => number
}

/** The secret of one upstream: as it was configured, or as a command gave it lately. */
export class Credentials {
  readonly #settings: Pick<UpstreamSettings, 'name' | 'url'>
  readonly #source: UpstreamCredentials | undefined
  readonly #options: CredentialOptions
  #kept: { secret: Promise<Secret>; until: number } | undefined

  constructor(
    { credentials, ...settings }: Pick<UpstreamSettings, 'name' | 'url' | 'credentials'>,
    options: CredentialOptions,
  ) {
    this.#settings = settings
    this.#source = credentials
    this.#options = options
  }

  /** @throws UpstreamFailure 'denied' when the command fails */
  async read(): Promise<Secret | undefined> {
    if (this.#source === undefined || this.#source.kind === 'password') return this.#source
    if (this.#kept !== undefined && this.#options.now() < this.#kept.until) return this.#kept.secret
    const kept = {
      secret: this.#run(this.#source.command),
      until: this.#options.now() + this.#source.seconds * 1000,
    }
    this.#kept = kept
    // Those who wait now share the failure; who comes later tries again.
    kept.secret.catch(() => {
      if (this.#kept === kept) this.#kept = undefined
    })
    return kept.secret
  }

  /**
   * After `secret` was refused: whether the next {@link read} may give another. The one that is
   * kept may have been replaced meanwhile.
   */
  async renew(secret: Secret): Promise<boolean> {
    if (this.#source?.kind !== 'command') return false
    const kept = this.#kept
    if (kept !== undefined && (await kept.secret) === secret && this.#kept === kept) {
      this.#kept = undefined
    }
    return true
  }

  async #run(command: readonly string[]): Promise<Secret> {
    const { name, url } = this.#settings
    try {
      const host = new URL(url).host
      const { username, secret } = await runCredentialCommand(
        command,
        host,
        this.#options.commandMs,
      )
      if (username === IDENTITY_TOKEN) return { kind: 'identity token', token: secret }
      return { kind: 'password', username, password: secret }
    } catch (error) {
      const why = error instanceof CommandFailure ? error.message : 'it cannot be run'
      throw new UpstreamFailure('denied', `${name}: the command for its credentials failed: ${why}`)
    }
  }
}

/** The value of `Authorization` for it. RFC 7617, in UTF-8. */
export function formatBasic({ username, password }: Secret & { kind: 'password' }): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`
}
