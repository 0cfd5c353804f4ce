import { isRepositoryName } from '../oci/reference.ts'
import { asAnswerFailure } from './answer-failure.ts'
import type { AuthenticatedAnswer, Authentication } from './authentication.ts'
import type { Budget } from './budget.ts'
import { UpstreamFailure } from './failure.ts'

export interface RegistryApiOptions {
  /** The upstream's name. */
  readonly name: string
  /** Without `/v2`. */
  readonly base: URL
  readonly authentication: Authentication
  readonly budget: Budget
  readonly now: () => number
}

export interface Question {
  readonly repository: string
  /** Behind `/v2/<name>/`; or a whole URL, as a `Link` gives it. */
  readonly path: string | URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  /** The statuses hoped for; any other is a failure. */
  readonly statuses: readonly number[]
  readonly signal: AbortSignal
}

/** The `/v2` API of an upstream: URLs, and what each answer tells besides its content. */
export class RegistryApi {
  readonly #options: RegistryApiOptions
  readonly #root: string

  constructor(options: RegistryApiOptions) {
    this.#options = options
    this.#root = `${options.base.origin}${options.base.pathname.replace(/\/+$/, '')}/v2/`
  }

  get origin(): string {
    return this.#options.base.origin
  }

  /** @throws UpstreamFailure, or the reason of the signal */
  async ask({ repository, path, statuses, ...request }: Question): Promise<AuthenticatedAnswer> {
    const { name, authentication, budget, now } = this.#options
    if (!isRepositoryName(repository)) {
      throw new UpstreamFailure('invalid', `${name}: what is asked for has no valid name`)
    }
    const url = typeof path === 'string' ? new URL(`${this.#root}${repository}/${path}`) : path
    const scope = `repository:${repository}:pull`
    const answer = await authentication.send({ ...request, url, scope })
    if (answer.isOwn) budget.read(answer.headers)
    const { status, secrets } = answer
    if (!statuses.includes(status)) throw await asAnswerFailure(answer, { secrets, now: now() })
    if (request.method === 'HEAD') answer.drop()
    const encoding = answer.headers['content-encoding'] ?? 'identity'
    if (status < 300 && encoding !== 'identity') {
      answer.drop()
      throw new UpstreamFailure('invalid', `${answer.who}: sends an encoding nobody asked for`)
    }
    return answer
  }
}
