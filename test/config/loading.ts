import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { ConfigError, type ConfigSources, loadConfig } from '../../config/config.ts'

export function load(sources: Partial<ConfigSources> = {}) {
  return loadConfig({ flags: {}, environment: {}, ...sources })
}

export function problemsOf(sources: Partial<ConfigSources>): string[] {
  try {
    load(sources)
  } catch (error) {
    if (error instanceof ConfigError) return [...error.problems]
    throw error
  }
  return []
}

/** A file with that content, until the test ends. */
export function fileOf(content: string, name = 'slipway.yml'): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'slipway-config-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(path.join(folder, name), content)
  return path.join(folder, name)
}
