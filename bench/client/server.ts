/** Where clients go, and as whom. */
export interface Server {
  /** Of 127.0.0.1. */
  readonly port: number
  /** Who gets a token for all that is asked for; left out, requests show nothing. */
  readonly account?: Account | undefined
}

export interface Account {
  readonly name: string
  readonly password: string
}

/** What of a server a load needs that runs in another process. */
export function serverOf({ port, account }: Server): Server {
  return { port, account }
}

/** The catalog, among names of repositories. */
export const catalog = '_catalog'

/** By account, as each server that is started has one of its own, and by what is asked for. */
const known = new WeakMap<Account, Map<string, Promise<string>>>()

/**
 * The Authorization header of a token for some repositories, or the catalog; undefined where none is
 * needed. As a client does, each is asked for once.
 */
export async function authorizationFor(
  server: Server,
  repositories: readonly string[],
): Promise<string | undefined> {
  const { account } = server
  if (account === undefined || repositories.length === 0) return undefined
  const tokens = known.get(account) ?? new Map<string, Promise<string>>()
  known.set(account, tokens)
  const key = repositories.join(' ')
  const token = tokens.get(key) ?? tokenFor(server, repositories.map(scopeOf))
  tokens.set(key, token)
  return token
}

/** The same for all that some paths name. */
export function authorizationForPaths(
  server: Server,
  paths: readonly string[],
): Promise<string | undefined> {
  const named = paths.map(repositoryOf).filter((name) => name !== undefined)
  return authorizationFor(server, [...new Set(named)])
}

/** What the path of a request names; undefined for neither a repository nor the catalog. */
export function repositoryOf(target: string): string | undefined {
  if (target.startsWith('/v2/_catalog')) return catalog
  return /^\/v2\/(.+)\/(?:blobs|manifests|tags|referrers)\//.exec(target)?.[1]
}

/** The Authorization header of a token for just these scopes. @throws Error when there is none */
export async function tokenFor(server: Server, scopes: readonly string[]): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server.port}${tokenTarget(scopes)}`, {
    headers: { Authorization: basic(server) },
  })
  if (!response.ok) throw new Error(`token: ${response.status} ${await response.text()}`)
  const { token } = (await response.json()) as { token: string }
  return `Bearer ${token}`
}

/** Path and query of a request for a token. */
export function tokenTarget(scopes: readonly string[]): string {
  const query = new URLSearchParams(scopes.map((scope): [string, string] => ['scope', scope]))
  return `/token?${query.toString()}`
}

/** The Authorization header by name and password. */
export function basic({ account }: Server): string {
  return `Basic ${Buffer.from(`${account?.name}:${account?.password}`).toString('base64')}`
}

function scopeOf(repository: string): string {
  return repository === catalog ? 'registry:catalog:*' : `repository:${repository}:pull,push,delete`
}
