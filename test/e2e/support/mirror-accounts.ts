import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import { type Account, admin } from './accounts.ts'
import type { Workspace } from './workspace.ts'

/** May pull official images of Docker Hub, and nothing else. */
export const reader: Account = { name: 'reader', password: 'of-official-images' }

const OPEN = `
  - repositories: "docker.io/**"
    allow: { anonymous: [pull] }
`

const OFFICIAL = `
  - repositories: "docker.io/library/**"
    allow: { "user:reader": [pull] }
`

/**
 * Settings of a server with accounts.
 *
 * @param to whom it gives what is on Docker Hub: to everybody, or to the reader alone
 */
export async function guardedMirror(
  workspace: Workspace,
  to: 'everybody' | 'reader',
): Promise<NodeJS.ProcessEnv> {
  const directory = await workspace.folder('access')
  const accessFile = path.join(directory, 'access.yml')
  const htpasswdFile = path.join(directory, 'htpasswd')
  await writeFile(accessFile, `grants:${to === 'everybody' ? OPEN : OFFICIAL}`)
  await writeFile(htpasswdFile, `${reader.name}:${hashSync(reader.password, { cost: 4 })}\n`)
  return {
    SLIPWAY_AUTH: 'token',
    SLIPWAY_ADMIN_PASSWORD: admin.password,
    SLIPWAY_ACCESS_FILE: accessFile,
    SLIPWAY_ACCESS_HTPASSWD: htpasswdFile,
  }
}
