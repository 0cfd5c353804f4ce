import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { program } from './clients.ts'
import { nginxConfiguration } from './nginx-configuration.ts'
import { freePort, startDaemon } from './process.ts'
import type { Workspace } from './workspace.ts'

export interface Nginx {
  readonly url: string
  /** Host and port, as clients write it before a repository. */
  readonly host: string
  /** What it has complained of so far. */
  log(this: void): string
}

/**
 * Starts nginx before replicas, given as `127.0.0.1:5000`, as `deploy/nginx.conf` says; with a folder of
 * `blobs` as `deploy/nginx-blobs.conf` says, too.
 */
export async function startNginx(
  workspace: Workspace,
  replicas: readonly string[],
  { blobs }: { readonly blobs?: string } = {},
): Promise<Nginx> {
  const directory = await workspace.folder('nginx')
  const host = `127.0.0.1:${await freePort()}`
  const configuration = path.join(directory, 'nginx.conf')
  await writeFile(
    configuration,
    await nginxConfiguration({ listen: host, replicas, directory, blobs }),
  )
  const url = `http://${host}`
  const logFile = path.join(directory, 'log')
  const { stop } = await startDaemon({
    command: program('nginx'),
    args: ['-c', configuration, '-e', 'stderr', '-g', 'daemon off;'],
    logFile,
    isReady: () =>
      fetch(`${url}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      ),
  })
  workspace.onClose(stop)
  return { url, host, log: () => readFileSync(logFile, 'utf8') }
}
