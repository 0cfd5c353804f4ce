import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { nginxConfiguration } from '../../test/e2e/support/nginx-configuration.ts'
import type { OnClose } from '../folder.ts'
import { startDatabase } from '../peers/postgres.ts'
import { startS3Server } from '../peers/s3-server.ts'
import { freePort, startServer } from '../peers/server-process.ts'
import { inBucket } from '../peers/slipway.ts'
import type { Parts } from './cpu.ts'

const program = fileURLToPath(new URL('../../bin/slipway.cjs', import.meta.url))

/** From how many replicas there are figures. */
export const mostReplicas = 3

/** Everything that takes part but the client, running. */
export interface Stage {
  /** Where nginx serves with so many replicas behind it. */
  portFor(this: void, replicas: number): number
  /** The processes whose trees make up each part. */
  readonly parts: Parts<readonly number[]>
}

/**
 * Starts the database, the S3 server, all replicas, and an nginx for each number of them, in an
 * empty directory that any user may enter. What has been started ends by what `onClose` is given.
 */
export async function openStage(directory: string, s3: string, onClose: OnClose): Promise<Stage> {
  const folder = async (name: string) => {
    const made = path.join(directory, name)
    await mkdir(made)
    return made
  }
  const database = await startDatabase(path.join(directory, 'database'))
  onClose(database.stop)
  const storage = await startS3Server(s3, path.join(directory, 's3'), onClose)

  const environment = {
    SLIPWAY_DATABASE_URL: database.url,
    SLIPWAY_LOG_LEVEL: 'warn',
    SLIPWAY_AUTH: 'none', // there is a proxy in front
    ...inBucket(storage.place),
  }
  const replicas: Awaited<ReturnType<typeof startReplica>>[] = []
  for (let replica = 1; replica <= mostReplicas; replica++) {
    const started = await startReplica(await folder(`replica-${replica}`), environment)
    onClose(started.stop)
    replicas.push(started)
  }
  const proxies: Awaited<ReturnType<typeof startNginx>>[] = []
  for (let count = 1; count <= mostReplicas; count++) {
    const hosts = replicas.slice(0, count).map(({ host }) => host)
    const started = await startNginx(await folder(`nginx-${count}`), hosts)
    onClose(started.stop)
    proxies.push(started)
  }

  return {
    portFor: (count) => proxies[count - 1]?.port ?? 0,
    parts: {
      replicas: replicas.map(({ pid }) => pid),
      nginx: proxies.map(({ pid }) => pid),
      s3: storage.roots,
      postgres: [database.pid],
    },
  }
}

async function startReplica(directory: string, environment: NodeJS.ProcessEnv) {
  const host = `127.0.0.1:${await freePort()}`
  const started = await startServer({
    command: program,
    arguments: ['serve', '--data', path.join(directory, 'data'), '--listen', host],
    environment,
    directory,
    readyUrl: `http://${host}/readyz`,
  })
  return { ...started, host }
}

async function startNginx(directory: string, replicas: readonly string[]) {
  const port = await freePort()
  const listen = `127.0.0.1:${port}`
  const file = path.join(directory, 'nginx.conf')
  await writeFile(file, await nginxConfiguration({ listen, replicas, directory }))
  const started = await startServer({
    command: 'nginx',
    arguments: ['-c', file, '-e', 'stderr', '-g', 'daemon off;'],
    environment: { PATH: `${process.env['PATH']}:/usr/sbin` },
    directory,
    readyUrl: `http://${listen}/healthz`,
  })
  return { ...started, port }
}
