import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Account } from '../client/server.ts'
import { run } from '../command.ts'
import type { Peer, PeerKind, PeerSettings, S3Place, Setup } from './peer.ts'
import { startDatabase } from './postgres.ts'
import { freePort, startServer } from './server-process.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * The built Slipway of this checkout as it is installed: all durability, access log, metrics and
 * garbage collection on.
 */
export const slipway: PeerKind = {
  name: 'Slipway',
  upstreamPrefix: 'upstream/',
  version,
  start,
}

/** The same with something else in its setup, whatever that of the run is. */
export function slipwayWith(name: string, changed: Partial<Setup>): PeerKind {
  return {
    ...slipway,
    name,
    start: (settings) => start({ ...settings, setup: { ...settings.setup, ...changed } }),
  }
}

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const commit = await run('git', ['-C', root, 'describe', '--always', '--dirty']).catch(() => '')
  return commit === '' ? manifest.version : `${manifest.version} (${commit.trim()})`
}

async function start(settings: PeerSettings): Promise<Peer> {
  const { setup } = settings
  if (setup.database === 'embedded') return startSlipway(settings, {})
  const database = await startDatabase(path.join(settings.directory, 'database'))
  const peer = await startSlipway(settings, { SLIPWAY_DATABASE_URL: database.url })
  return {
    ...peer,
    roots: [...peer.roots, database.pid],
    stop: async () => {
      await peer.stop()
      await database.stop()
    },
  }
}

async function startSlipway(
  { directory, setup, profileDirectory, upstreamUrl }: PeerSettings,
  environment: Readonly<Record<string, string>>,
): Promise<Peer> {
  const { workers } = setup
  const port = await freePort()
  const program = path.join(root, 'bin', 'slipway.cjs')
  const account = setup.auth === 'token' ? { name: 'admin', password: randomUUID() } : undefined
  // Run as it is installed, by its first line, which names flags; a profile needs another one.
  const profiled = [
    '--initial-old-space-size=256',
    '--cpu-prof',
    `--cpu-prof-dir=${profileDirectory}`,
  ]
  const { pid, stop } = await startServer({
    command: profileDirectory ? process.execPath : program,
    arguments: [
      ...(profileDirectory ? [...profiled, program] : []),
      'serve',
      '--data',
      path.join(directory, 'data'),
      '--listen',
      `127.0.0.1:${port}`,
      ...(workers > 1 ? ['--workers', String(workers)] : []),
    ],
    environment: {
      ...(upstreamUrl !== undefined && {
        SLIPWAY_UPSTREAMS: JSON.stringify({
          upstream: { url: upstreamUrl, privateAddresses: true },
        }),
      }),
      ...withTokens(account),
      ...(setup.storage !== 'filesystem' && inBucket(setup.storage)),
      ...environment,
    },
    directory,
    readyUrl: `http://127.0.0.1:${port}/readyz`,
  })
  return { port, account, roots: [pid], stop }
}

function withTokens(account: Account | undefined): Readonly<Record<string, string>> {
  if (account === undefined) return {}
  return {
    SLIPWAY_AUTH: 'token',
    SLIPWAY_ADMIN_PASSWORD: account.password,
    // Clients of the benchmark ask for a token once, and not while they are measured.
    SLIPWAY_TOKENS_SECONDS: '3600',
    SLIPWAY_LIMITS_TOKEN_REQUESTS_PER_MINUTE: '1000000',
  }
}

/** Blobs in a part of the bucket that nobody else has. */
export function inBucket(place: S3Place): Readonly<Record<string, string>> {
  return {
    SLIPWAY_STORAGE_TYPE: 's3',
    SLIPWAY_STORAGE_S3_ENDPOINT: place.endpoint,
    SLIPWAY_STORAGE_S3_BUCKET: place.bucket,
    SLIPWAY_STORAGE_S3_PREFIX: `slipway-${randomUUID()}`,
    SLIPWAY_STORAGE_S3_ACCESS_KEY_ID: place.accessKeyId,
    SLIPWAY_STORAGE_S3_SECRET_ACCESS_KEY: place.secretAccessKey,
  }
}
