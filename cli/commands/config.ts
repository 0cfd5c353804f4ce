import { SETTINGS, type Setting, variableOf } from '../../config/settings.ts'
import { configurationOf } from '../configuration.ts'
import type { CommandOptions } from '../usage.ts'

/** Prints the settings in force, secrets hidden. */
export async function checkConfig(options: CommandOptions): Promise<number> {
  const config: Readonly<Record<string, unknown>> = configurationOf(options)
  for (const [key, setting] of Object.entries<Setting>(SETTINGS)) {
    process.stdout.write(`${variableOf(key)}=${show(config[key], setting)}\n`)
  }
  process.stderr.write('the configuration is usable\n')
  return 0
}

function show(value: unknown, { secret }: Setting): string {
  if (value === undefined) return ''
  if (secret) return '(hidden)'
  if (typeof value === 'string') return value
  if (isAddress(value)) {
    return `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`
  }
  return Array.isArray(value) ? value.join(',') : JSON.stringify(value)
}

function isAddress(value: unknown): value is { host: string; port: number } {
  return typeof value === 'object' && value !== null && 'host' in value && 'port' in value
}
