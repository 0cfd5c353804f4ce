import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../command.ts'
import type { Peer, PeerKind, PeerSettings } from './peer.ts'
import { freePort, startServer } from './server-process.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The built Slipway of this checkout with its embedded Postgres, all durability on. */
export const slipway: PeerKind = {
  name: 'Slipway',
  upstreamPrefix: 'upstream/',
  version,
  start,
}

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const commit = await run('git', ['-C', root, 'describe', '--always', '--dirty']).catch(() => '')
  return commit === '' ? manifest.version : `${manifest.version} (${commit.trim()})`
}

/** What {@link slipwayWithTokens} lets in, besides whoever asks without any credentials. */
export const account = { name: 'admin', password: 'of the benchmark' }

/**
 * The same with tokens. Whoever asks without one may do everything too, so that data can be made
 * by the same clients; a token that is shown is verified all the same.
 */
export const slipwayWithTokens: PeerKind = {
  ...slipway,
  name: 'Slipway with tokens',
  start: async (settings) => {
    const rules = path.join(settings.directory, 'access.yml')
    await writeFile(
      rules,
      'grants: [{ repositories: "**", allow: { anonymous: [pull, push, overwrite] } }]',
    )
    return startSlipway(settings, {
      SLIPWAY_AUTH: 'token',
      SLIPWAY_ADMIN_PASSWORD: account.password,
      SLIPWAY_ACCESS_FILE: rules,
    })
  },
}

function start(settings: PeerSettings): Promise<Peer> {
  return startSlipway(settings, {})
}

async function startSlipway(
  { directory, workers, profileDirectory, upstreamUrl }: PeerSettings,
  environment: Readonly<Record<string, string>>,
): Promise<Peer> {
  const port = await freePort()
  const program = path.join(root, 'bin', 'slipway.cjs')
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
      SLIPWAY_LOG_LEVEL: 'warn',
      ...(upstreamUrl !== undefined && {
        SLIPWAY_UPSTREAMS: JSON.stringify({
          upstream: { url: upstreamUrl, privateAddresses: true },
        }),
      }),
      ...environment,
    },
    directory,
    readyUrl: `http://127.0.0.1:${port}/readyz`,
  })
  return { port, roots: [pid], stop }
}
