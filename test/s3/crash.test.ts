import { afterAll, beforeAll, expect, it } from 'vitest'
import type { FaultPoint } from '../../registry/registry.ts'
import { expectBlob, expectNothingOrWhole } from '../durability/support/inspect.ts'
import { CONTAINERD, contentOf, DOCKER, type Flow } from '../durability/support/pushes.ts'
import type { ServerProcess } from '../durability/support/server.ts'
import { describeWithS3 } from '../support/s3.ts'
import { type Fleet, openFleet, to } from './fleet.ts'

const MIB = 2 ** 20
const REPOSITORY = 'crash/blobs'

const STEPS: readonly [Flow, readonly FaultPoint[]][] = [
  [DOCKER, ['upload received', 'upload saved', 'blob locked', 'blob placed', 'blob committed']],
  [CONTAINERD, ['upload received', 'blob locked', 'blob placed', 'blob committed']],
]
const CASES = STEPS.flatMap(([flow, steps]) =>
  steps.flatMap((step) => [1000, 20 * MIB].map((size) => ({ flow, name: flow.name, step, size }))),
)

describeWithS3('a replica killed while it takes a blob', () => {
  let fleet: Fleet
  let survivor: ServerProcess
  beforeAll(async () => {
    fleet = await openFleet()
    survivor = await fleet.start()
  })
  afterAll(() => fleet.workspace.close())

  it.each(CASES)('$name of $size bytes at $step: another goes on', async ({ flow, step, size }) => {
    const victim = await fleet.startCrashing()
    await victim.crashAt({ step, nth: 1, withDatabase: false })
    const content = contentOf(`${flow.name} ${step} ${size}`, size)
    let session = ''
    const outcome = await flow
      .push(to(victim, REPOSITORY), content, (path) => {
        session = path
      })
      .then(
        () => 'answered',
        () => 'cut',
      )
    expect(outcome).toBe('cut')
    expect(await victim.exited).toEqual({ code: null, signal: 'SIGKILL' })

    const visible = await expectNothingOrWhole(survivor.host, REPOSITORY, content.digest)
    expect(visible).toBe(step === 'blob committed')

    const answer = await flow.replay!(to(survivor, REPOSITORY), content, session)
    // Docker asks how far it is first; the session may have ended with a blob by then.
    const ended = flow === DOCKER && step === 'blob committed'
    expect(`${answer.status} ${answer.body.toString()}`).toMatch(ended ? /^404 / : /^201 /)
    await expectBlob(survivor.host, REPOSITORY, content.digest)
    await fleet.expectNothingLeftOver()
    await expectBlob(survivor.host, REPOSITORY, content.digest)
  })
})
