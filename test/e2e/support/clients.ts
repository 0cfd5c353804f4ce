import { accessSync, constants } from 'node:fs'
import path from 'node:path'

/**
 * Whether tests have to be skipped because programs of the system are missing, or root where
 * `'root'` is among the needs; says on the console which. With CI set it throws instead,
 * because there green has to mean that they ran.
 *
 * @throws Error with what is missing when CI is set
 */
export function lacks(...needs: readonly string[]): boolean {
  const missing = needs.filter((need) => !isThere(need))
  if (missing.length === 0) return false
  const reason = `missing: ${missing.join(', ')}`
  if (isContinuousIntegration()) throw new Error(reason)
  console.warn(`skipped, ${reason}`)
  return true
}

/**
 * Where a program lies, that of the distribution first: a newer docker client elsewhere in
 * the PATH would not be the one that belongs to the daemon.
 */
function findProgram(name: string): string | undefined {
  const folders = ['/usr/bin', '/usr/sbin', ...(process.env['PATH'] ?? '').split(path.delimiter)]
  return folders.map((folder) => path.join(folder, name)).find(isExecutable)
}

/** @throws Error when it is not installed */
export function program(name: string): string {
  const found = findProgram(name)
  if (found === undefined) throw new Error(`${name} is not installed`)
  return found
}

function isThere(need: string): boolean {
  return need === 'root' ? process.getuid?.() === 0 : findProgram(need) !== undefined
}

function isContinuousIntegration(): boolean {
  return !['', '0', 'false'].includes(process.env['CI'] ?? '')
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
