import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { runnable } from '../support/runnable.ts'

export const ROOT = path.resolve(import.meta.dirname, '../..')

/** Runs the program in a folder of its own, without the settings of whoever runs the tests. */
export function slipway(words: string[], { environment = {}, file = '' } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'slipway-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  if (file !== '') writeFileSync(path.join(folder, 'slipway.yml'), file)
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SLIPWAY_'))
  return spawnSync(process.execPath, [...runnable('cli/main.ts'), ...words], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...Object.fromEntries(inherited), ...environment },
  })
}
