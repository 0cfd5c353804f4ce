import type { Server } from '../../client/server.ts'

/** The Authorization header of a token for just these scopes. @throws Error when there is none */
export async function tokenFor(server: Server, scopes: readonly string[]): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server.port}${tokenTarget(scopes)}`, {
    headers: { Authorization: basic(server) },
  })
  if (!response.ok) throw new Error(`token: ${response.status} ${await response.text()}`)
  const { token } = (await response.json()) as { token: string }
  return `Bearer ${token}`
}

export function tokenTarget(scopes: readonly string[]): string {
  const query = new URLSearchParams(scopes.map((scope): [string, string] => ['scope', scope]))
  return `/token?${query.toString()}`
}

export function basic({ account }: Server): string {
  return `Basic ${Buffer.from(`${account?.name}:${account?.password}`).toString('base64')}`
}
