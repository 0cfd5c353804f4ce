import { randomBytes } from 'node:crypto'
import type { PushedImage } from '../../cases/pushed-images.ts'
import { Connection, type Request } from '../../client/connection.ts'
import { contentOf } from '../../client/content.ts'
import { acceptManifests, expectStatus, mountBlob } from '../../client/push.ts'
import { tokenFor } from '../../client/server.ts'
import type { HotPath, Site } from '../hot-path.ts'
import { openDrain } from './drain.ts'
import { postWhole } from './posting.ts'

const repository = 'budget/reads'
const largeMebibytes = 64

/** What pulls ask for, of content that was asked for before unless it says `first`. */
export const reads: readonly HotPath[] = [
  image('manifest-digest', 'GET manifest by digest', 'GET', (of) => [of.manifestByDigest]),
  image('manifest-tag', 'GET manifest by tag', 'GET', (of) => [of.manifestByTag]),
  image('head-digest', 'HEAD manifest by digest', 'HEAD', (of) => [of.manifestByDigest]),
  image('head-tag', 'HEAD manifest by tag', 'HEAD', (of) => [of.manifestByTag]),
  image('blob-head', 'HEAD blob', 'HEAD', (of) => of.layers),
  puller('manifest-digest-puller', 'GET manifest by digest, may pull only', 'GET', (of) => [
    of.manifestByDigest,
  ]),
  puller('head-digest-puller', 'HEAD manifest by digest, may pull only', 'HEAD', (of) => [
    of.manifestByDigest,
  ]),
  puller('blob-head-puller', 'HEAD blob, may pull only', 'HEAD', (of) => of.layers),
  {
    name: 'blob-head-first',
    what: 'HEAD blob, the first of each, may push: promises it',
    times: 300,
    async prepare({ server }, times) {
      const connection = await Connection.open(server)
      const paths: string[] = []
      for (let index = 0; index < times; index++) {
        const { digest, bytes } = contentOf(randomBytes(1024))
        // What a push brings is promised by it.
        await postWhole(connection, `${repository}-source`, { digest, bytes })
        await mountBlob(connection, repository, digest, `${repository}-source`)
        paths.push(`/v2/${repository}/blobs/${digest}`)
      }
      connection.close()
      return { once: (asking, index) => ask(asking, 'HEAD', paths[index] ?? '') }
    },
  },
  {
    name: 'blob-get',
    what: 'GET blob of 1 KiB',
    times: 1000,
    async prepare({ server }) {
      const target = await pushedBlob(server, randomBytes(1024))
      return { once: (connection) => ask(connection, 'GET', target) }
    },
  },
  {
    name: 'blob-get-large',
    what: `GET blob of ${largeMebibytes} MiB, per MiB`,
    times: 8,
    perTime: largeMebibytes,
    isAlone: true,
    async prepare({ server }) {
      const bytes = randomBytes(largeMebibytes * 2 ** 20)
      const target = await pushedBlob(server, bytes)
      const connection = await Connection.open(server)
      const { headers } = await connection.authorized({ method: 'GET', target })
      connection.close()
      const drain = await openDrain(server.port)
      const once = () => drain.get({ method: 'GET', target, ...(headers && { headers }) })
      return { once, close: drain.close }
    },
  },
]

function image(
  name: string,
  what: string,
  method: 'GET' | 'HEAD',
  pathsOf: (image: PushedImage) => readonly string[],
): HotPath {
  return {
    name,
    what,
    times: 2000,
    async prepare({ images }) {
      const paths = images.flatMap(pathsOf)
      return {
        once: (connection, index) => ask(connection, method, paths[index % paths.length] ?? ''),
      }
    },
  }
}

/** The same of one repository, with a token that is good for pulls. */
function puller(
  name: string,
  what: string,
  method: 'GET' | 'HEAD',
  pathsOf: (image: PushedImage) => readonly string[],
): HotPath {
  return {
    name,
    what,
    times: 2000,
    needsAuth: true,
    plain: true,
    async prepare({ server, images }: Site) {
      const pulled = 'bench/images-0'
      const all = images.flatMap(pathsOf)
      const paths = all.filter((path) => path.startsWith(`/v2/${pulled}/`))
      const headers = { Authorization: await tokenFor(server, [`repository:${pulled}:pull`]) }
      return {
        once: (connection, index) =>
          ask(connection, method, paths[index % paths.length] ?? '', headers),
      }
    },
  }
}

async function pushedBlob(server: Site['server'], bytes: Buffer): Promise<string> {
  const connection = await Connection.open(server)
  const { digest } = contentOf(bytes)
  await postWhole(connection, repository, { digest, bytes })
  connection.close()
  return `/v2/${repository}/blobs/${digest}`
}

async function ask(
  connection: Connection,
  method: Request['method'],
  target: string,
  headers: Request['headers'] = {},
): Promise<void> {
  const request = { method, target, headers: { Accept: acceptManifests, ...headers } }
  expectStatus(await connection.request(request), 200)
}
