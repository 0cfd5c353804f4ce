import { constants } from 'node:fs'
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import path from 'node:path'

/**
 * Copies the package's `native` folder to `target`, readable for every user, and makes the library links that
 * its install script would have made. `target` appears whole, by a rename; what else lies beside it (older
 * versions, interrupted copies) is removed.
 */
export async function layOutNative(source: string, target: string): Promise<void> {
  const parent = path.dirname(target)
  const unfinished = `${target}.new`
  await rm(parent, { recursive: true, force: true })
  await mkdir(parent, { recursive: true })
  await chmod(parent, 0o755)

  await copyFolder(source, unfinished)
  for (const link of await readLinks(source)) {
    const file = path.join(unfinished, link.at)
    await symlink(path.relative(path.dirname(link.at), link.to), file).catch(unlessExists)
  }
  await rename(unfinished, target)
}

async function copyFolder(source: string, target: string): Promise<void> {
  await mkdir(target)
  await chmod(target, 0o755)
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = path.join(source, entry.name)
    const to = path.join(target, entry.name)
    if (entry.isDirectory()) await copyFolder(from, to)
    else if (entry.isSymbolicLink()) await symlink(await readlink(from), to)
    else if (!entry.name.endsWith('.a')) await copyReadable(from, to)
  }
}

async function copyReadable(from: string, to: string): Promise<void> {
  const { mode } = await stat(from)
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  // An installation under a strict umask left them closed to other users.
  await chmod(to, (mode & 0o100) === 0 ? 0o644 : 0o755)
}

/** Both ends relative to the `native` folder. */
interface Link {
  readonly at: string
  readonly to: string
}

/** `pg-symlinks.json`: npm packs no links, so the package lists them, relative to its own root. */
async function readLinks(native: string): Promise<readonly Link[]> {
  const text = await readFile(path.join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const listed: unknown = JSON.parse(text)
  if (!Array.isArray(listed)) return []
  return listed.filter(isListedLink).map((link) => ({
    at: path.posix.relative('native', link.target),
    to: path.posix.relative('native', link.source),
  }))
}

function isListedLink(link: unknown): link is { source: string; target: string } {
  if (typeof link !== 'object' || link === null) return false
  if (!('source' in link) || !('target' in link)) return false
  return [link.source, link.target].every(
    (end) => typeof end === 'string' && path.posix.normalize(end).startsWith('native/'),
  )
}

function unlessExists(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}
