import { randomBytes } from 'node:crypto'
import { Connection } from '../../client/connection.ts'
import { contentOf } from '../../client/content.ts'
import { expectStatus } from '../../client/push.ts'
import { authorizationFor, basic, catalog, tokenFor, tokenTarget } from '../../client/server.ts'
import type { HotPath, Site } from '../hot-path.ts'
import { postWhole } from './posting.ts'

const source = 'budget/source'
const target = 'budget/target'

/** Lists, tokens and mounts. */
export const others: readonly HotPath[] = [
  {
    name: 'base',
    what: 'GET /v2/',
    times: 2000,
    plain: true,
    async prepare({ server }) {
      const headers =
        server.account === undefined
          ? {}
          : { Authorization: await tokenFor(server, ['repository:bench/images-0:pull']) }
      return { once: (connection) => get(connection, '/v2/', headers) }
    },
  },
  {
    name: 'token',
    what: 'GET /token with name and password',
    times: 200,
    needsAuth: true,
    plain: true,
    async prepare({ server }) {
      const headers = { Authorization: basic(server) }
      const path = tokenTarget(['repository:bench/images-0:pull'])
      return { once: (connection) => get(connection, path, headers) }
    },
  },
  {
    name: 'tags',
    what: 'GET a page of 10 tags',
    times: 1000,
    prepare: async () => ({
      once: (connection) => get(connection, '/v2/bench/images-0/tags/list?n=100'),
    }),
  },
  {
    name: 'catalog',
    what: 'GET a page of 10 repositories',
    times: 1000,
    plain: true,
    async prepare({ server }) {
      const headers = await authorized(server, [catalog])
      return { once: (connection) => get(connection, '/v2/_catalog?n=10', headers) }
    },
  },
  {
    name: 'mount',
    what: 'POST that mounts a blob of another repository',
    times: 300,
    plain: true,
    async prepare({ server }, times) {
      const digests = await pushedBlobs(server, times)
      const headers = await authorized(server, [source, target])
      return {
        async once(connection, index) {
          const query = new URLSearchParams({ mount: digests[index]!, from: source })
          const path = `/v2/${target}/blobs/uploads/?${query.toString()}`
          expectStatus(await connection.request({ method: 'POST', target: path, headers }), 201)
        },
      }
    },
  },
]

type Headers = Readonly<Record<string, string>>

async function get(connection: Connection, path: string, headers: Headers = {}): Promise<void> {
  expectStatus(await connection.request({ method: 'GET', target: path, headers }), 200)
}

async function authorized(server: Site['server'], repositories: string[]): Promise<Headers> {
  const authorization = await authorizationFor(server, repositories)
  return authorization === undefined ? {} : { Authorization: authorization }
}

async function pushedBlobs(server: Site['server'], count: number): Promise<string[]> {
  const connection = await Connection.open(server)
  const digests: string[] = []
  for (let index = 0; index < count; index++) {
    const blob = contentOf(randomBytes(1024))
    await postWhole(connection, source, blob)
    digests.push(blob.digest)
  }
  connection.close()
  return digests
}
