import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '../..')
const VARIABLE = 'SLIPWAY_TEST_COMPILED'

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
  const folder = mkdtempSync(path.join(ROOT, '.compiled-'))
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
