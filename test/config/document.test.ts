import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { SETTINGS } from '../../config/settings.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')

it('docs/configuration.md is what npm run docs writes', () => {
  const script = ['--import', 'tsx', 'config/document.ts', '--check']
  const { status, stderr } = spawnSync(process.execPath, script, { cwd: ROOT, encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status).toBe(0)
})

it('docs/configuration.md names every setting', () => {
  const text = readFileSync(path.join(ROOT, 'docs/configuration.md'), 'utf8')
  for (const key of Object.keys(SETTINGS)) expect(text).toContain(`| \`${key}\` |`)
})
