import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, errorOf, exchange } from './support/exchange.ts'
import { expectBlob, expectEveryFileWhole, Ledger, uploadFiles } from './support/inspect.ts'
import { expectUnavailable } from './support/outage.ts'
import {
  CONTAINERD,
  type Content,
  contentOf,
  expectStatus,
  imageOf,
  offsetOf,
  patch,
  pushManifest,
  put,
  Refused,
  startSession,
  type Target,
} from './support/pushes.ts'
import { type ServerProcess, startProgram } from './support/server.ts'
import {
  mountSmallDisk,
  openWorkspace,
  requireUnless,
  type SmallDisk,
  until,
  type Workspace,
  whyNoSmallDisk,
} from './support/workspace.ts'

const MIB = 1024 * 1024

const reason = await whyNoSmallDisk()
beforeEach((context) => requireUnless(reason, context))

function expectFull(answer: Answer): void {
  expect(`${answer.status} ${answer.body.toString()}`).toMatch(/^507 /)
  expect(errorOf(answer).detail).toBe('the storage is full')
}

describe('a full disk of blobs', () => {
  let workspace: Workspace
  let disk: SmallDisk
  let storage: string
  let server: ServerProcess
  const to: Target = { host: () => server.host, repository: 'full/disk' }
  const image = imageOf(contentOf('config', 500), [contentOf('layer', MIB)])

  beforeAll(async () => {
    if (reason !== undefined) return
    workspace = await openWorkspace()
    disk = await mountSmallDisk(workspace, { bytes: 96 * MIB, inodes: 200 })
    storage = path.join(disk.folder, 'registry')
    server = await startProgram(workspace, { settings: { 'storage.root': storage } })
    for (const blob of [image.config, ...image.layers]) await CONTAINERD.push(to, blob)
    await pushManifest(to, image, 'before')
  })

  afterAll(() => workspace?.close())

  beforeEach((context) => {
    context.onTestFinished(() => disk?.makeRoom())
  })

  /** All that needs no room for blobs goes on, in the same process. */
  async function expectServing(): Promise<void> {
    expect(server.hasExited()).toBe(false)
    const ledger = new Ledger()
    ledger.imagePushed(to.repository, 'before', image)
    await ledger.expectWhole(server.host)
    await pushManifest(to, image, `tag-${Math.floor(performance.now())}`)
    const health = await exchange(server.host, { method: 'GET', path: '/healthz' })
    expect(health.status).toBe(200)
  }

  it.each([
    { what: 'a little more than there is room', bytes: 8 * MIB },
    { what: 'far more than there is room', bytes: 30 * MIB },
  ])(
    'PATCH with $what: 507, the session stays, and the same PATCH succeeds later',
    async (each) => {
      const content = contentOf(`patch ${each.bytes}`, each.bytes + 1000)
      const first = content.bytes.subarray(0, 1000)
      const second = content.bytes.subarray(1000)
      const session = await startSession(to)
      expectStatus('first PATCH', await patch(to, session, first), 202)
      await disk.fill(6 * MIB)

      expectFull(await patch(to, session, second))

      expect(await offsetOf(to, session)).toBe(1000)
      expect(await disk.freeBytes(), 'room the failed request gave back').toBe(6 * MIB)
      await expectServing()
      expectFull(await patch(to, session, second, 1000))

      await disk.makeRoom()
      expectStatus('PATCH again', await patch(to, session, second, 1000), 202)
      expectStatus('PUT', await put(to, session, content.digest), 201)
      await expectBlob(server.host, to.repository, content.digest)
    },
  )

  it('PUT with the body: 507, the session stays, and the same PUT succeeds later', async () => {
    const content = contentOf('put', 3 * MIB)
    const session = await startSession(to)
    await disk.fill(2 * MIB)

    expectFull(await put(to, session, content.digest, content.bytes))

    expect(await offsetOf(to, session)).toBe(0)
    await expectServing()
    await disk.makeRoom()
    expectStatus('PUT again', await put(to, session, content.digest, content.bytes), 201)
    await expectBlob(server.host, to.repository, content.digest)
  })

  it('monolithic POST: 507, leaves nothing, and the same POST succeeds later', async () => {
    const { bytes, digest } = contentOf('post', 3 * MIB)
    const uploadsBefore = await uploadFiles(storage)
    await disk.fill(2 * MIB)
    const post = { method: 'POST', path: `/v2/${to.repository}/blobs/uploads/?digest=${digest}` }

    expectFull(await exchange(server.host, { ...post, body: bytes }))

    expect(await uploadFiles(storage)).toEqual(uploadsBefore)
    await expectServing()
    await disk.makeRoom()
    expectStatus('POST again', await exchange(server.host, { ...post, body: bytes }), 201)
    await expectBlob(server.host, to.repository, digest)
  })

  it.each([0, 1, 2])('no inodes but %i: 507, and the same PUT succeeds later', async (leaving) => {
    const content = contentOf(`inodes ${leaving}`, 5000)
    const session = await startSession(to)
    await disk.fillInodes(leaving)

    expectFull(await put(to, session, content.digest, content.bytes))

    await expectServing()
    await disk.makeRoom()
    expectStatus('PUT again', await put(to, session, content.digest, content.bytes), 201)
    await expectBlob(server.host, to.repository, content.digest)
  })

  it('many pushes at once: each is told, none stays half, and all succeed later', async () => {
    const contents = Array.from({ length: 8 }, (_, index) => contentOf(`many ${index}`, 2 * MIB))
    await disk.fill(3 * MIB)
    const outcomes = await Promise.all(contents.map(pushed))

    expect(outcomes).toContain(507)
    expect(outcomes.every((status) => status === 201 || status === 507)).toBe(true)
    await expectEveryFileWhole(storage)
    await expectServing()
    await disk.makeRoom()
    expect(await Promise.all(contents.map(pushed))).toEqual(contents.map(() => 201))
  })

  async function pushed(content: Content): Promise<number> {
    try {
      await CONTAINERD.push(to, content)
      return 201
    } catch (error) {
      if (error instanceof Refused) return error.answer.status
      throw error
    }
  }
})

async function pushUntilRefused(pushNext: () => Promise<void>): Promise<Answer> {
  for (let count = 0; count < 2000; count++) {
    try {
      await pushNext()
    } catch (error) {
      if (error instanceof Refused) return error.answer
      throw error
    }
  }
  throw new Error('the disk is full, and pushes go on')
}

describe('a full disk of the database', () => {
  let workspace: Workspace
  let disk: SmallDisk
  let server: ServerProcess
  const to: Target = { host: () => server.host, repository: 'full/database' }
  const blob = contentOf('blob', 20_000)

  beforeAll(async () => {
    if (reason !== undefined) return
    workspace = await openWorkspace()
    disk = await mountSmallDisk(workspace, { bytes: 192 * MIB })
    const settings = { data: disk.folder, 'storage.root': path.join(workspace.folder, 'blobs') }
    server = await startProgram(workspace, { settings })
    await CONTAINERD.push(to, blob)
  })

  afterAll(() => workspace?.close())

  const imageNumber = (number: number) => {
    const annotations = { number: String(number), padding: `${number} `.repeat(20_000) }
    return imageOf(blob, [], annotations)
  }

  it('refuses pushes with 503, loses nothing, and goes on when there is room', async () => {
    const ledger = new Ledger()
    let number = 0
    const pushNext = async () => {
      const image = imageNumber(++number)
      await pushManifest(to, image, `tag-${number}`)
      ledger.imagePushed(to.repository, `tag-${number}`, image)
    }
    await pushNext()
    await disk.fill(0)

    expectUnavailable(await pushUntilRefused(pushNext))
    expect(server.hasExited()).toBe(false)

    await disk.makeRoom()
    await until('a push succeeds again', async () => {
      return pushNext().then(
        () => true,
        () => false,
      )
    })
    await ledger.expectWhole(server.host)
  })
})
