import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import type { Exchange } from './recording-proxy.ts'
import { type Slipway, startSlipway } from './slipway.ts'
import type { Workspace } from './workspace.ts'

export interface Account {
  readonly name: string
  readonly password: string
}

/** Of the database: it gets identity tokens, and may do everything. */
export const admin: Account = { name: 'admin', password: 'made-at-the-first-start' }

/** Of the htpasswd file, in the group that owns `team/`. */
export const alice: Account = { name: 'alice', password: 'a password: with a colon' }

/** Of the htpasswd file; owns `bob/` and may pull from `team/`, but not below `team/secret/`. */
export const bob: Account = { name: 'bob', password: 'another-password' }

const all = '[pull, push, overwrite, delete]'

const rules = `
groups:
  team-a: [alice]
grants:
  - repositories: "team/**"
    allow: { "group:team-a": ${all}, "user:bob": [pull] }
  - repositories: "team/secret/**"
    deny: { "user:bob": [pull] }
  - repositories: "bob/**"
    allow: { "user:bob": ${all} }
  - repositories: "public/**"
    allow: { anonymous: [pull], authenticated: [pull], "group:team-a": ${all} }
  - repositories: "**"
    tags: ["v*"]
    deny: { everyone: [overwrite, delete] }
`

/**
 * Starts the built server with these accounts. Everybody may pull from `public/`, which alice owns
 * as well. Tags that begin with `v` are immutable, for admin too. One to a workspace.
 */
export async function startSlipwayWithAccounts(
  workspace: Workspace,
  environment: NodeJS.ProcessEnv = {},
): Promise<Slipway> {
  const directory = await workspace.folder('access')
  const accessFile = path.join(directory, 'access.yml')
  const htpasswdFile = path.join(directory, 'htpasswd')
  // The lowest cost there is: these tests are about clients.
  const lines = [alice, bob].map(
    ({ name, password }) => `${name}:${hashSync(password, { cost: 4 })}\n`,
  )
  await Promise.all([writeFile(accessFile, rules), writeFile(htpasswdFile, lines.join(''))])
  return startSlipway(workspace, undefined, {
    environment: {
      SLIPWAY_AUTH: 'token',
      SLIPWAY_ADMIN_PASSWORD: admin.password,
      SLIPWAY_ACCESS_FILE: accessFile,
      SLIPWAY_ACCESS_HTPASSWD: htpasswdFile,
      ...environment,
    },
  })
}

/** As `GET /v2/ 401`, without the queries. */
export function linesOf(exchanges: readonly Exchange[]): string[] {
  return exchanges.map(({ method, target, status }) => {
    const [withoutQuery] = target.split('?', 1)
    return `${method} ${withoutQuery} ${status}`
  })
}

export function tokenRequests(exchanges: readonly Exchange[]): readonly Exchange[] {
  return exchanges.filter(({ target }) => /^\/token(?:\?|$)/.test(target))
}

/** What a GET for a token asked for. */
export function scopesOf({ target }: Exchange): readonly string[] {
  return new URL(target, 'http://proxy').searchParams.getAll('scope')
}

/** Of manifests, as {@link linesOf} gives them. */
export function manifestRequests(exchanges: readonly Exchange[], method: string): string[] {
  return linesOf(exchanges.filter((each) => each.method === method)).filter((line) =>
    line.includes('/manifests/'),
  )
}

/** As docker login gets it from the server and keeps it to itself. */
export async function fetchIdentityToken(
  host: string,
  { name, password }: Account,
): Promise<string> {
  const response = await fetch(`http://${host}/token?offline_token=true`, {
    headers: { Authorization: `Basic ${base64(`${name}:${password}`)}` },
  })
  const { refresh_token: token } = (await response.json()) as { refresh_token: string }
  return token
}

/** As in a header, and in the files where clients keep their logins. */
export function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
