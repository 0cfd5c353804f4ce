import { ConfigError, type ConfigSources, loadConfig } from '../../config/config.ts'
import { InvalidUpstream } from '../../config/upstream-schema.ts'
import { fileOf } from './loading.ts'

/** What no problem may show. */
export const SECRET = 'hunter2'

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
