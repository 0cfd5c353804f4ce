import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { run } from '../command.ts'
import type { Peer, PeerKind, PeerSettings } from './peer.ts'
import { freePort, startServer } from './server-process.ts'

/** Debian's docker-registry: filesystem storage, descriptors cached in memory, logs off. */
export const dockerRegistry: PeerKind = {
  name: 'docker-registry',
  upstreamPrefix: '',
  version,
  start,
}

async function version(): Promise<string> {
  const printed = await run('docker-registry', ['--version'])
  return printed.trim().split(' ').at(-1) ?? printed
}

async function start({ directory, upstreamUrl }: PeerSettings): Promise<Peer> {
  const port = await freePort()
  const file = path.join(directory, 'config.yml')
  const proxy = upstreamUrl === undefined ? '' : `proxy:\n  remoteurl: ${upstreamUrl}\n`
  await writeFile(file, configuration(path.join(directory, 'data'), port) + proxy)
  const { pid, stop } = await startServer({
    command: 'docker-registry',
    arguments: ['serve', file],
    // Debian builds it with a default that exports nothing; this keeps it so everywhere.
    environment: { OTEL_TRACES_EXPORTER: 'none' },
    directory,
    readyUrl: `http://127.0.0.1:${port}/v2/`,
  })
  return { port, roots: [pid], stop }
}

function configuration(data: string, port: number): string {
  return `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: ${JSON.stringify(data)}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:${port}
  secret: only-for-this-run
`
}
