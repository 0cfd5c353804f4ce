import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '../..')
const VARIABLE = 'SLIPWAY_TEST_COMPILED'
/** Then the process that made it. */
const PREFIX = '.compiled-'

/** What tests run as processes of their own: those of `tsconfig.programs.json`. */
type Program =
  | 'cli/main.ts'
  | 'test/support/crashing-server.ts'
  | 'test/postgres/lock-companion.ts'
  | 'test/postgres/server-companion.ts'

/**
 * Compiles them once for a whole run: hundreds of processes are started, and each would do so. From
 * then on {@link runnable} names what was compiled.
 *
 * @returns the folder, for the caller to remove
 */
export function compilePrograms(): string {
  // Each project of a run asks for it.
  const done = process.env[VARIABLE]
  if (done !== undefined) return done
  removeLeftOvers()
  const folder = path.join(ROOT, `${PREFIX}${process.pid}`)
  mkdirSync(folder)
  const tsc = createRequire(import.meta.url).resolve('typescript/package.json')
  execFileSync(process.execPath, [
    path.join(path.dirname(tsc), 'bin/tsc'),
    '--noCheck',
    '--outDir',
    folder,
    '--project',
    path.join(import.meta.dirname, 'tsconfig.programs.json'),
  ])
  const sql = readdirSync(path.join(ROOT, 'migrations')).filter((name) => name.endsWith('.sql'))
  for (const name of sql) {
    cpSync(path.join(ROOT, 'migrations', name), path.join(folder, 'migrations', name))
  }
  process.env[VARIABLE] = folder
  return folder
}

/** Arguments with which Node runs one of the programs, by its path from the root. */
export function runnable(program: Program): string[] {
  const compiled = process.env[VARIABLE]
  if (compiled !== undefined) return [path.join(compiled, program.replace(/\.ts$/, '.js'))]
  return ['--import', import.meta.resolve('tsx'), path.join(ROOT, program)]
}

/** Of runs that were killed. */
function removeLeftOvers(): void {
  for (const name of readdirSync(ROOT).filter((each) => each.startsWith(PREFIX))) {
    if (isRunning(Number(name.slice(PREFIX.length)))) continue
    rmSync(path.join(ROOT, name), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
