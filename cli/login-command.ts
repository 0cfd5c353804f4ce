import type { Config } from '../config/config.ts'

/** What to type to log in. Where clients come to only the realm tells; not the port listened on. */
export function loginCommand(config: Config, name: string): string {
  const realm = config['tokens.realm']
  const host = realm === undefined ? 'HOST' : new URL(realm).host
  return `docker login -u ${name} ${host}`
}
