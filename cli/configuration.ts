import { type Config, loadConfig } from '../config/config.ts'
import type { CommandOptions } from './usage.ts'

/** The configuration a command runs with. @throws ConfigError */
export function configurationOf({ flags, file }: CommandOptions): Config {
  const environment = process.env
  return loadConfig({ flags, environment, file: file ?? environment['SLIPWAY_CONFIG'] })
}
