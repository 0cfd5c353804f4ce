import type { Config } from '../config/config.ts'

/** What to type to log in, for as much as the configuration tells of where clients come to. */
export function loginCommand(config: Config, name: string): string {
  const realm = config['tokens.realm']
  const host = realm === undefined ? `localhost:${config.listen.port}` : new URL(realm).host
  return `docker login -u ${name} --password-stdin ${host}`
}
