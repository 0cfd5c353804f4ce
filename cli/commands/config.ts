import { createSecureContext } from 'node:tls'
import { pino } from 'pino'
import type { Config } from '../../config/config.ts'
import { SETTINGS, type Setting, variableOf } from '../../config/settings.ts'
import { openAccessControl } from '../../server/access-control.ts'
import { openBlobStore } from '../../server/blob-store.ts'
import { certificatesOf } from '../../server/listen.ts'
import { rehearse } from '../../storage/blob/rehearsal.ts'
import { openPool, ping } from '../../storage/metadata/database.ts'
import { configurationOf } from '../configuration.ts'
import type { CommandOptions } from '../usage.ts'

/** Prints the settings in force, secrets hidden; with `--probe` tries what they name as well. */
export async function checkConfig(options: CommandOptions): Promise<number> {
  const config = configurationOf(options)
  const values: Readonly<Record<string, unknown>> = config
  for (const [key, setting] of Object.entries<Setting>(SETTINGS)) {
    const text = key === 'upstreams' ? showUpstreams(config) : show(values[key], setting)
    process.stdout.write(`${variableOf(key)}=${text}\n`)
  }
  await checkAccessFiles(config)
  checkCertificates(config)
  if (options.switches.has('probe')) {
    await probeStorage(config)
    await probeDatabase(config)
  }
  process.stderr.write('the configuration is usable\n')
  return 0
}

/** Those that `serve` would not start without. */
async function checkAccessFiles(config: Config): Promise<void> {
  const log = pino({ level: 'silent' })
  const db = openPool({ connection: {}, size: 1, onError: () => {} }) // nothing is asked of it
  const access = await openAccessControl({ config, db, changes: undefined, shared: false, log })
  await access.close()
  await db.end()
}

function checkCertificates(config: Config): void {
  try {
    createSecureContext(certificatesOf(config) ?? {})
  } catch (error) {
    throw new Error('tls: the certificate, key or authorities cannot be used', { cause: error })
  }
}

/** A clock that is further off is worth a word; storages refuse requests beyond some minutes. */
const SKEW_SECONDS = 60

async function probeStorage(config: Config): Promise<void> {
  const { store, place, clockAheadSeconds, close } = await openBlobStore(config)
  try {
    await rehearse(store, (done) => process.stderr.write(`storage: ${done}\n`))
  } catch (error) {
    throw new Error(`storage: ${place} cannot be used`, { cause: error })
  } finally {
    close()
  }
  const ahead = clockAheadSeconds()
  if (Math.abs(ahead) > SKEW_SECONDS) {
    process.stderr.write(`storage: its clock is ${ahead} s ahead of the one here\n`)
  }
}

async function probeDatabase(config: Config): Promise<void> {
  const url = config['database.url']
  if (url === undefined) return
  const pool = openPool({ connection: { connectionString: url }, size: 1, onError: () => {} })
  try {
    await ping(pool)
    process.stderr.write('database: answers\n')
  } catch (error) {
    throw new Error('database: does not answer', { cause: error })
  } finally {
    await pool.end()
  }
}

function show(value: unknown, { secret }: Setting): string {
  if (value === undefined) return ''
  if (secret) return '(hidden)'
  if (typeof value === 'string') return value
  if (isAddress(value)) {
    return `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`
  }
  const isList = Array.isArray(value) && value.every((item) => typeof item === 'string')
  return isList ? value.join(',') : JSON.stringify(value)
}

/** As the variable would say it, but for passwords. */
function showUpstreams({ upstreams }: Config): string {
  if (upstreams.length === 0) return ''
  return JSON.stringify(Object.fromEntries(upstreams.map(({ name, shown }) => [name, shown])))
}

function isAddress(value: unknown): value is { host: string; port: number } {
  return typeof value === 'object' && value !== null && 'host' in value && 'port' in value
}
