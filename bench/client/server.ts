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
  const token = tokens.get(key) ?? fetchToken(server, account, repositories)
  tokens.set(key, token)
  return `Bearer ${await token}`
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

/** @throws Error when the account gets none */
async function fetchToken(
  { port }: Server,
  { name, password }: Account,
  repositories: readonly string[],
): Promise<string> {
  const url = new URL(`http://127.0.0.1:${port}/token`)
  for (const repository of repositories) url.searchParams.append('scope', scopeOf(repository))
  const basic = Buffer.from(`${name}:${password}`).toString('base64')
  const response = await fetch(url, { headers: { Authorization: `Basic ${basic}` } })
  if (!response.ok) throw new Error(`token: ${response.status} ${await response.text()}`)
  const { token } = (await response.json()) as { token: string }
  return token
}

function scopeOf(repository: string): string {
  return repository === catalog ? 'registry:catalog:*' : `repository:${repository}:pull,push,delete`
}
