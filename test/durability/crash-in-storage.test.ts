import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  expectBlob,
  expectEveryFileWhole,
  expectNothingOrWhole,
  uploadFiles,
} from './support/inspect.ts'
import { CONTAINERD, contentOf, DOCKER, FLOWS, type Target } from './support/pushes.ts'
import { type ServerProcess, startCrashingServer } from './support/server.ts'
import { traceServer } from './support/tracing.ts'
import { openWorkspace, requireUnless, type Workspace, whyNoTracing } from './support/workspace.ts'

/** One thread for files, so that the n-th call of the program is the n-th call of a thread. */
const ONE_THREAD = { environment: { UV_THREADPOOL_SIZE: '1' } }
const BLOB_BYTES = 200_000

let workspace: Workspace
let server: ServerProcess
let reason: string | undefined

beforeAll(async () => {
  reason = await whyNoTracing()
  if (reason !== undefined) return
  workspace = await openWorkspace()
  server = await startCrashingServer(workspace, ONE_THREAD)
})

beforeEach((context) => requireUnless(reason, context))

afterAll(() => workspace?.close())

const target: Target = { host: () => server.host, repository: 'crash/storage' }

describe('a server killed as it enters a system call of a commit', () => {
  // Of a push by POST and PUT with the body, in their order. The folder of a digest is made in a
  // folder that may be new as well, each synced by who names it.
  it.each([
    { call: 'pwritev,pwrite64', nth: 1, what: 'the bytes are written' },
    { call: 'fdatasync', nth: 1, what: 'the bytes are synced' },
    { call: '?mkdir,mkdirat', nth: 1, what: 'a folder is made' },
    { call: 'fsync', nth: 1, what: 'the first folder is synced' },
    { call: '?mkdir,mkdirat', nth: 2, what: 'the next folder is made' },
    { call: '?rename,renameat,renameat2', nth: 1, what: 'the file is placed' },
    { call: 'fsync', nth: 3, what: 'the folder of the file is synced' },
    { call: 'fsync', nth: 4, what: 'the folder of that folder is synced' },
  ])(
    '$what ($call, $nth): nothing half is seen, and the push succeeds again',
    async ({ call, nth }) => {
      const content = contentOf(`${call} ${nth}`, BLOB_BYTES)
      const uploadsBefore = await uploadFiles(workspace.storage)
      let session = ''
      const trace = await traceServer(workspace, server, {
        calls: call,
        inject: `${call}:signal=SIGKILL:when=${nth}`,
      })
      const pushing = CONTAINERD.push(target, content, (path) => {
        session = path
      })
      const [outcome] = await Promise.all([pushing.catch(String), trace.struck()])
      expect(outcome).toMatch(/hang up|ECONNRESET/)
      await server.exited
      server = await startCrashingServer(workspace, ONE_THREAD)

      expect(await expectNothingOrWhole(server.host, target.repository, content.digest)).toBe(false)
      await expectEveryFileWhole(workspace.storage)
      const answer = await CONTAINERD.replay?.(target, content, session)
      expect(`${answer?.status} ${answer?.body.toString()}`).toMatch(/^201 /)
      await expectBlob(server.host, target.repository, content.digest)
      expect(await uploadFiles(workspace.storage)).toEqual(uploadsBefore)
    },
  )
})

describe('an answer', () => {
  const calls = 'fdatasync,fsync,?rename,renameat,renameat2,write,writev,sendto'

  it.each(FLOWS)('$name: 201 follows the sync of the file and of both folders', async (flow) => {
    const content = contentOf(`${flow.name} in order`, BLOB_BYTES)
    const hex = content.digest.slice('sha256:'.length)
    const trace = await traceServer(workspace, server, { calls })
    await flow.push(target, content)
    const lines = await trace.end()

    const at = (pattern: RegExp) => lines.findIndex((line) => pattern.test(line))
    const order = {
      bytesSynced: at(/fdatasync\(\d+<[^>]*\/uploads\//),
      placed: at(new RegExp(`rename.*${hex}/data`)),
      folderSynced: at(new RegExp(`fsync\\(\\d+<[^>]*/${hex}>`)),
      shardSynced: at(new RegExp(`fsync\\(\\d+<[^>]*/sha256/${hex.slice(0, 2)}>`)),
      answered: at(/HTTP\/1\.1 201/),
    }
    const { bytesSynced, placed, folderSynced, shardSynced, answered } = order
    expect(Math.min(...Object.values(order))).toBeGreaterThanOrEqual(0)
    expect(bytesSynced).toBeLessThan(placed)
    expect(placed).toBeLessThan(Math.min(folderSynced, shardSynced))
    expect(Math.max(folderSynced, shardSynced)).toBeLessThan(answered)
  })

  it('202 to a PATCH follows the sync of its bytes', async () => {
    const content = contentOf('patched in order', BLOB_BYTES)
    const trace = await traceServer(workspace, server, { calls })
    await DOCKER.push(target, content)
    const lines = await trace.end()

    const synced = lines.findIndex((line) => /fdatasync\(\d+<[^>]*\/uploads\//.test(line))
    // The first 202 is that of the POST.
    const answers = lines.flatMap((line, index) => (/HTTP\/1\.1 202/.test(line) ? [index] : []))
    expect(answers).toHaveLength(2)
    expect(synced).toBeGreaterThan(answers[0] ?? Number.NaN)
    expect(synced).toBeLessThan(answers[1] ?? Number.NaN)
  })
})
