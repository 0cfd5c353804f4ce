import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { ConfigError, type ConfigSources, loadConfig } from '../../config/config.ts'
import { InvalidUpstream } from '../../config/upstream-schema.ts'

/** What no problem may show. */
export const SECRET = 'hunter2'

/** A file with that content, until the test ends. */
export function fileOf(content: string, name = 'slipway.yml'): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'slipway-upstreams-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(path.join(folder, name), content)
  return path.join(folder, name)
}

/** The upstreams of a configuration. */
export function load(sources: Partial<ConfigSources>) {
  return loadConfig({ flags: {}, environment: {}, ...sources }).upstreams
}

export function ofYaml(content: string, environment = {}) {
  return load({ file: fileOf(`upstreams:\n${content}`), environment })
}

/** What `action` throws them for. */
export function problemsOf(action: () => unknown): readonly string[] {
  try {
    action()
  } catch (error) {
    if (error instanceof ConfigError || error instanceof InvalidUpstream) return error.problems
    throw error
  }
  return []
}
