import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, exchange } from './support/exchange.ts'
import { expectBlob } from './support/inspect.ts'
import {
  expectPushAndPull,
  expectUnavailable,
  goOn,
  interrupted,
  listTags,
  readiness,
} from './support/outage.ts'
import {
  type Content,
  contentOf,
  expectStatus,
  offsetOf,
  patch,
  put,
  startSession,
  type Target,
} from './support/pushes.ts'
import { postmasterPid, type ServerProcess, startProgram } from './support/server.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

let workspace: Workspace
let server: ServerProcess
const to: Target = { host: () => server.host, repository: 'outage/embedded' }

/** @returns its pid, which the next one will not have */
function killDatabase(): number {
  const pid = postmasterPid(workspace)
  process.kill(pid, 'SIGKILL')
  return pid
}

/** Tries as clients do, from the POST again, until the blob is there. @returns its digest */
async function pushUntilDone({ bytes, digest }: Content): Promise<string> {
  for (;;) {
    const path = `/v2/${to.repository}/blobs/uploads/`
    const begun = await exchange(server.host, { method: 'POST', path })
    const { location = '' } = begun.headers
    const answer = begun.status === 202 ? await put(to, location, digest, bytes) : begun
    if (answer.status === 201) return digest
    // The session itself may be among what a killed database forgets of its last moments.
    if (answer.status !== 404) expectUnavailable(answer)
    await sleep(100)
  }
}

describe('the embedded database, killed', () => {
  beforeAll(async () => {
    workspace = await openWorkspace()
    server = await startProgram(workspace)
    await expectPushAndPull(to, 'before')
  })

  afterAll(() => workspace.close())

  it('between two requests of a push: 503 with Retry-After meanwhile, then it goes on', async () => {
    const content = contentOf('between', 200_000)
    const session = await startSession(to)
    const first = content.bytes.subarray(0, 90_000)
    expectStatus('PATCH', await patch(to, session, first), 202)
    await sleep(1000) // a session is promised to outlive a crash of the database after this time
    const before = killDatabase()

    const answers: Answer[] = []
    await until('the database is back', async () => {
      const answer = await listTags(to)
      answers.push(answer)
      return answer.status === 200 && postmasterPid(workspace) !== before
    })
    const refused = answers.filter(({ status }) => status !== 200)
    refused.forEach(expectUnavailable)
    expect(refused.length, 'requests that met the outage').toBeGreaterThan(0)

    expect(await offsetOf(to, session)).toBe(first.length)
    await goOn(to, session, content)
    await expectPushAndPull(to, 'after')
    expect(server.hasExited()).toBe(false)
  })

  it('in the middle of a PATCH: it succeeds or is refused, and the push goes on', async () => {
    const content = contentOf('middle', 400_000)
    const session = await startSession(to)
    await sleep(1000)
    const body = interrupted(content.bytes, async () => {
      await sleep(200)
      killDatabase()
      await sleep(300)
    })
    const answer = await exchange(server.host, { method: 'PATCH', path: session, body })
    if (answer.status !== 202) expectUnavailable(answer)

    await until('the database is back', async () => (await listTags(to)).status === 200)
    await goOn(to, session, content)
    expect(server.hasExited()).toBe(false)
  })

  it('under many pushes: each ends well when it is tried again', async () => {
    const pushes = Array.from({ length: 40 }, async (_, number) => {
      await sleep(number * 40)
      return pushUntilDone(contentOf(`many ${number}`, 30_000))
    })
    await sleep(500)
    killDatabase()

    for (const digest of await Promise.all(pushes)) {
      await expectBlob(server.host, to.repository, digest)
    }
  })

  it('is seen in /readyz, and so is its return', async () => {
    expect(await readiness(to)).toBe(200)
    const statuses: number[] = []
    killDatabase()
    await until('ready again', async () => {
      statuses.push(await readiness(to))
      return statuses.includes(503) && statuses.at(-1) === 200
    })
    expect(await exchange(server.host, { method: 'GET', path: '/healthz' })).toMatchObject({
      status: 200,
    })
  })
})
