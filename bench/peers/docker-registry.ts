import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { stringify } from 'yaml'
import { run } from '../command.ts'
import type { Peer, PeerKind, PeerSettings, S3Place } from './peer.ts'
import { freePort, startServer } from './server-process.ts'

/** Debian's docker-registry: no tokens, descriptors cached in memory, logs off. */
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

async function start(settings: PeerSettings): Promise<Peer> {
  const { directory } = settings
  const port = await freePort()
  const file = path.join(directory, 'config.yml')
  await writeFile(file, stringify(configuration(settings, port)))
  const { pid, stop } = await startServer({
    command: 'docker-registry',
    arguments: ['serve', file],
    environment: {
      // Debian builds it with a default that exports nothing; this keeps it so everywhere.
      OTEL_TRACES_EXPORTER: 'none',
      // Its S3 driver does not start where one is named.
      AWS_CA_BUNDLE: undefined,
    },
    directory,
    readyUrl: `http://127.0.0.1:${port}/v2/`,
  })
  return { port, roots: [pid], stop }
}

function configuration({ directory, setup, upstreamUrl }: PeerSettings, port: number) {
  const { storage } = setup
  return {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: {
      cache: { blobdescriptor: 'inmemory' },
      ...(storage === 'filesystem'
        ? { filesystem: { rootdirectory: path.join(directory, 'data') } }
        : inBucket(storage)),
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}`, secret: 'only-for-this-run' },
    ...(upstreamUrl !== undefined && { proxy: { remoteurl: upstreamUrl } }),
  }
}

function inBucket({ endpoint, bucket, accessKeyId, secretAccessKey }: S3Place) {
  return {
    s3: {
      accesskey: accessKeyId,
      secretkey: secretAccessKey,
      region: 'us-east-1',
      regionendpoint: endpoint,
      secure: false,
      bucket,
      rootdirectory: `/docker-registry-${randomUUID()}`,
    },
    // As Slipway does: bytes go through the server.
    redirect: { disable: true },
  }
}
