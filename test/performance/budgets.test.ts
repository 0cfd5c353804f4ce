import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Client,
  expectStatus,
  locationOf,
  pushBlob,
  sha256,
  someBytes,
  startUpload,
} from '../acceptance/client.ts'
import { artifact, pushEmpty, pushImage, pushManifest } from '../acceptance/images.ts'
import { startProgram } from '../durability/support/server.ts'
import { traceServer } from '../durability/support/tracing.ts'
import { openWorkspace, requireUnless, whyNoTracing } from '../durability/support/workspace.ts'
import { type CountedServer, openCountedServer } from './support/processes.ts'
import type { Sent } from './support/statements.ts'

/**
 * SQL statements, `begin` and `commit` among them, in how many round trips: by the only process
 * of a database, then by one among several. Who makes one of them smaller makes it smaller here.
 */
const BUDGETS = {
  'GET manifest by digest': ['0 in 0', '0 in 0'],
  'GET manifest by tag': ['0 in 0', '1 in 1'],
  'HEAD manifest by digest, promised': ['0 in 0', '0 in 0'],
  'HEAD manifest by tag': ['0 in 0', '1 in 1'],
  'HEAD blob, promised': ['0 in 0', '0 in 0'],
  'HEAD blob after its push': ['0 in 0', '0 in 0'],
  'HEAD blob, the first': ['1 in 1', '1 in 1'],
  'GET blob': ['0 in 0', '0 in 0'],
  'push by POST, PATCH, PUT': ['8 in 4', '10 in 6'],
  'push by POST, PUT': ['7 in 3', '8 in 4'],
  'push by POST': ['7 in 3', '8 in 4'],
  'PUT manifest': ['6 in 2', '6 in 2'],
  'GET tags': ['1 in 1', '1 in 1'],
  'POST that mounts': ['1 in 1', '1 in 1'],
} as const

/** Syncs of files and folders in a push of a small blob, where its folder's folder is known. */
const SYNCS = { file: 1, folder: 2 }

const repository = 'budgets/app'

type Work = (server: CountedServer) => Promise<() => Promise<unknown>>

const blobPath = (digest: string) => `/v2/${repository}/blobs/${digest}`
const manifestPath = (reference: string) => `/v2/${repository}/manifests/${reference}`

/** What is made ready, and then what is counted. */
const works: Record<keyof typeof BUDGETS, Work> = {
  'GET manifest by digest': async ({ client }) => {
    const { digest } = await pushImage(client, repository, 'read')
    return again(async () => expectStatus(await client.get(manifestPath(digest)), 200))
  },
  'GET manifest by tag': async ({ client }) => {
    await pushImage(client, repository, 'read')
    return again(async () => expectStatus(await client.get(manifestPath('read')), 200))
  },
  'HEAD manifest by digest, promised': async ({ client }) => {
    const { digest } = await pushImage(client, repository, 'read')
    return again(async () => expectStatus(await client.head(manifestPath(digest)), 200))
  },
  'HEAD manifest by tag': async ({ client }) => {
    await pushImage(client, repository, 'read')
    return again(async () => expectStatus(await client.head(manifestPath('read')), 200))
  },
  'HEAD blob, promised': async ({ client }) => {
    const digest = await pushBlob(client, repository, someBytes())
    return again(async () => expectStatus(await client.head(blobPath(digest)), 200))
  },
  'HEAD blob after its push': async ({ client }) => {
    const digest = await pushBlob(client, repository, someBytes())
    return async () => expectStatus(await client.head(blobPath(digest)), 200)
  },
  'HEAD blob, the first': async ({ client }) => {
    const digest = await pushBlob(client, 'budgets/elsewhere', someBytes())
    const target = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=budgets/elsewhere`
    expectStatus(await client.send('POST', target), 201)
    return async () => expectStatus(await client.head(blobPath(digest)), 200)
  },
  'GET blob': async ({ client }) => {
    const digest = await pushBlob(client, repository, someBytes())
    return again(async () => expectStatus(await client.get(blobPath(digest)), 200))
  },
  'push by POST, PATCH, PUT':
    async ({ client }) =>
    () =>
      pushAsDocker(client, someBytes()),
  'push by POST, PUT':
    async ({ client }) =>
    () =>
      pushBlob(client, repository, someBytes()),
  'push by POST': async ({ client }) => {
    return async () => {
      const body = someBytes()
      const target = `/v2/${repository}/blobs/uploads/?digest=${sha256(body)}`
      expectStatus(await client.send('POST', target, { body }), 201)
    }
  },
  'PUT manifest': async ({ client }) => {
    await pushEmpty(client, repository)
    const content = artifact()
    return () => pushManifest(client, repository, content.digest.slice(7, 20), content)
  },
  'GET tags': async ({ client }) => {
    await pushImage(client, repository, 'read')
    return async () => expectStatus(await client.get(`/v2/${repository}/tags/list?n=10`), 200)
  },
  'POST that mounts': async ({ client }) => {
    await pushEmpty(client, 'budgets/target')
    const digest = await pushBlob(client, repository, someBytes())
    const target = `/v2/budgets/target/blobs/uploads/?mount=${digest}&from=${repository}`
    return async () => expectStatus(await client.send('POST', target), 201)
  },
}

/** Does it twice before: once to read, once by what the first has left. */
async function again(work: () => Promise<void>): Promise<() => Promise<void>> {
  await work()
  await work()
  return work
}

/** The sparest, for background work may fall into one, and more is asked where hearing is late. */
async function leastOf(times: number, count: () => Promise<Sent>): Promise<Sent> {
  const counted: Sent[] = []
  for (let index = 0; index < times; index++) counted.push(await count())
  return counted.reduce((least, other) =>
    other.statements.length < least.statements.length ? other : least,
  )
}

const summaryOf = ({ statements, roundTrips }: Sent) => `${statements.length} in ${roundTrips}`

async function pushAsDocker(client: Client, bytes: Buffer): Promise<void> {
  const location = await startUpload(client, repository)
  const headers = { 'Transfer-Encoding': 'chunked' }
  const patched = await client.send('PATCH', location, { headers, body: bytes })
  expectStatus(patched, 202)
  const target = `${locationOf(patched)}?digest=${sha256(bytes)}`
  expectStatus(await client.send('PUT', target), 201)
}

describe.each([
  ['the only process of a database', true, 0],
  ['one process among several', false, 1],
] as const)('%s', (_, ownsDatabase, column) => {
  let server: CountedServer
  beforeAll(async () => {
    server = await openCountedServer(ownsDatabase)
    await pushEmpty(server.client, repository)
  })
  afterAll(() => server?.close())

  it.each(Object.entries(works))('keeps the budget of %s', async (what, prepare) => {
    const budget = BUDGETS[what as keyof typeof BUDGETS][column]
    const sent = await leastOf(3, async () => server.counter.during(await prepare(server)))
    expect([summaryOf(sent), ...sent.statements]).toEqual([budget, ...sent.statements])
  })
})

describe('the built-in storage', () => {
  it('syncs a small blob as often as it must', async (context) => {
    requireUnless(await whyNoTracing(), context)
    const workspace = await openWorkspace()
    context.onTestFinished(() => workspace.close())
    const server = await startProgram(workspace)
    const client = new Client(server.host)
    context.onTestFinished(() => client.close())
    const first = someBytes()
    await pushAsDocker(client, first)
    const trace = await traceServer(workspace, server, { calls: 'fsync,fdatasync,sync_file_range' })
    await pushAsDocker(client, besides(first))
    const lines = await trace.end()

    const count = (call: string) => lines.filter((line) => line.includes(` ${call}(`)).length
    expect({ file: count('fdatasync'), folder: count('fsync') }).toEqual(SYNCS)
  })
})

/** Bytes that come to lie in the same folder. */
function besides(bytes: Buffer): Buffer {
  const folder = sha256(bytes).slice(0, 9)
  for (;;) {
    const other = someBytes()
    if (sha256(other).startsWith(folder)) return other
  }
}
