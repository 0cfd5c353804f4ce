/** What the names of all listeners in `pg_stat_activity` begin with. */
export const PREFIX = 'slipway_listener_'

/** That of the process `id`, a UUID. */
export function listenerName(id: string): string {
  return PREFIX + id.replaceAll('-', '')
}
