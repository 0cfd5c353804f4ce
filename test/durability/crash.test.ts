import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FaultPoint } from '../../registry/registry.ts'
import { exchange } from './support/exchange.ts'
import {
  expectBlob,
  expectEveryFileWhole,
  expectEveryTagWhole,
  expectNothingOrWhole,
  expectTagWhole,
  Ledger,
  uploadFiles,
} from './support/inspect.ts'
import {
  CONTAINERD,
  type Content,
  contentOf,
  DOCKER,
  type Flow,
  imageOf,
  MONOLITHIC,
  pushManifest,
  type Target,
} from './support/pushes.ts'
import { postmasterPid, type ServerProcess, startCrashingServer } from './support/server.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const BLOB_BYTES = 3 * 1024 * 1024 + 17

let workspace: Workspace
let server: ServerProcess
const ledger = new Ledger()

beforeAll(async () => {
  workspace = await openWorkspace()
  server = await startCrashingServer(workspace)
})

afterAll(() => workspace.close())

const target = (repository: string): Target => ({ host: () => server.host, repository })

/** Runs `work`, in which the server must die, and starts the next one. */
async function crash(
  order: { step: FaultPoint; withDatabase: boolean },
  work: () => Promise<unknown>,
): Promise<void> {
  const { host } = server
  await server.crashAt({ ...order, nth: 1 })
  const outcome = await work().then(
    () => 'answered',
    () => 'cut',
  )
  expect(outcome, 'what the client met').toBe('cut')
  expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' })
  server = await startCrashingServer(workspace)
  expect(server.host).not.toBe(host)
}

/** What holds at every moment, whatever happened before. */
async function expectSound(): Promise<void> {
  await expectEveryFileWhole(workspace.storage)
  await expectEveryTagWhole(server.host)
  await ledger.expectWhole(server.host)
}

/** How often the store holds the content under its digest. */
async function copiesOf({ digest }: Content): Promise<number> {
  const digests = await expectEveryFileWhole(workspace.storage)
  return digests.filter((stored) => stored === digest).length
}

interface Case {
  readonly flow: Flow
  readonly step: FaultPoint
  readonly withDatabase: boolean
}

const COMMIT_STEPS: readonly FaultPoint[] = ['blob locked', 'blob placed', 'blob committed']
const STEPS = new Map<Flow, readonly FaultPoint[]>([
  [DOCKER, ['upload received', 'upload saved', ...COMMIT_STEPS]],
  [CONTAINERD, ['upload received', ...COMMIT_STEPS]],
  [MONOLITHIC, ['upload received', ...COMMIT_STEPS]],
])
const CASES: readonly Case[] = [...STEPS].flatMap(([flow, steps]) =>
  steps.map((step) => ({ flow, step, withDatabase: false })),
)
const TOGETHER: readonly Case[] = [
  { flow: DOCKER, step: 'upload saved', withDatabase: true },
  { flow: DOCKER, step: 'blob placed', withDatabase: true },
  { flow: CONTAINERD, step: 'blob committed', withDatabase: true },
]

/** Crashes a push of new content there. @returns the content and the session it had */
async function crashPush({ flow, step, withDatabase }: Case) {
  const content = contentOf(`${flow.name} ${step} ${withDatabase}`, BLOB_BYTES)
  const to = target('crash/blobs')
  let session: string | undefined
  await crash({ step, withDatabase }, () =>
    flow.push(to, content, (path) => {
      session = path
    }),
  )
  return { content, to, session }
}

describe('a server killed while it takes a blob', () => {
  const named = [...CASES, ...TOGETHER].map((each) => ({
    ...each,
    name: each.flow.name,
    who: each.withDatabase ? 'server and database' : 'server',
  }))

  it.each(named)('$name, $who killed at $step: a new push succeeds', async (each) => {
    const { content, to } = await crashPush(each)

    const visible = await expectNothingOrWhole(server.host, to.repository, content.digest)
    expect(visible).toBe(each.step === 'blob committed')
    await expectSound()

    await each.flow.push(to, content)
    ledger.blobPushed(to.repository, content.digest)
    await expectBlob(server.host, to.repository, content.digest)
    expect(await copiesOf(content)).toBe(1)
  })

  const replayed = CASES.filter(({ flow, step }) => flow.replay && step !== 'blob committed')
  it.each(replayed.map((each) => ({ ...each, name: each.flow.name })))(
    '$name, killed at $step: the session goes on',
    async ({ flow, step }) => {
      const uploadsBefore = await uploadFiles(workspace.storage)
      const content = contentOf(`${flow.name} ${step} replayed`, BLOB_BYTES)
      const to = target('crash/blobs')
      let session = ''
      await crash({ step, withDatabase: false }, () =>
        flow.push(to, content, (path) => {
          session = path
        }),
      )

      const answer = await flow.replay?.(to, content, session)

      expect(`${answer?.status} ${answer?.body.toString()}`).toMatch(/^201 /)
      ledger.blobPushed(to.repository, content.digest)
      await expectBlob(server.host, to.repository, content.digest)
      expect(await copiesOf(content)).toBe(1)
      expect(await uploadFiles(workspace.storage)).toEqual(uploadsBefore)
    },
  )

  it.each([
    // It asks for its offset first, is told that there is no session, looks for the blob, goes on.
    { name: DOCKER.name, flow: DOCKER, status: 404 },
    // It asks for the same once more, and is told that it has it.
    { name: CONTAINERD.name, flow: CONTAINERD, status: 201 },
  ])(
    '$name, killed after the commit: the session has ended and the blob is there',
    async ({ flow, status }) => {
      const each = { flow, step: 'blob committed', withDatabase: false } as const
      const content = contentOf(`${flow.name} ended`, BLOB_BYTES)
      const to = target('crash/blobs')
      let session = ''
      await crash(each, () =>
        flow.push(to, content, (path) => {
          session = path
        }),
      )

      const answer = await flow.replay?.(to, content, session)
      expect(answer?.status).toBe(status)
      await expectBlob(server.host, to.repository, content.digest)
      await flow.push(to, content)
      expect(await copiesOf(content)).toBe(1)
    },
  )
})

describe('a server killed while it takes a manifest', () => {
  const steps = ['manifest locked', 'manifest committed'] as const
  const cases = steps.flatMap((step) => [
    { step, withDatabase: false, who: 'server' },
    { step, withDatabase: true, who: 'server and database' },
  ])

  it.each(cases)('$who killed at $step: the tag is what it was or new, and whole', async (each) => {
    const to = target('crash/images')
    const tag = each.step.replace(' ', '-')
    const seed = `${each.step} ${each.who}`
    const [older, newer] = [`${seed} older`, `${seed} newer`].map((name) =>
      imageOf(contentOf(`${name} config`, 300), [contentOf(`${name} layer`, 70_000)]),
    ) as [ReturnType<typeof imageOf>, ReturnType<typeof imageOf>]
    for (const { config, layers } of [older, newer]) {
      for (const blob of [config, ...layers]) {
        await CONTAINERD.push(to, blob)
        ledger.blobPushed(to.repository, blob.digest)
      }
    }
    await pushManifest(to, older, tag)

    await crash(each, () => pushManifest(to, newer, tag))

    const committed = each.step === 'manifest committed'
    const now = await expectTagWhole(server.host, to.repository, tag)
    expect(now).toBe(committed ? newer.manifest.digest : older.manifest.digest)
    const path = `/v2/${to.repository}/manifests/${newer.manifest.digest}`
    const { status } = await exchange(server.host, { method: 'HEAD', path })
    expect(status, 'a manifest is there with its tag or not at all').toBe(committed ? 200 : 404)

    await pushManifest(to, newer, tag)
    ledger.imagePushed(to.repository, tag, newer)
    await expectSound()
  })
})

describe('a database killed with its server between two requests', () => {
  it('lets the next one start and keeps what was acknowledged', async () => {
    const to = target('crash/between')
    const blob = contentOf('between', 5000)
    await CONTAINERD.push(to, blob)
    const image = imageOf(blob, [])
    await pushManifest(to, image, 'latest')
    ledger.imagePushed(to.repository, 'latest', image)

    process.kill(postmasterPid(workspace), 'SIGKILL')
    await server.kill()
    server = await startCrashingServer(workspace)

    await expectSound()
  })
})
