import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expectEveryFileWhole, expectEveryTagWhole, Ledger } from './support/inspect.ts'
import {
  contentOf,
  FLOWS,
  type Flow,
  type Image,
  imageOf,
  pushManifest,
  Refused,
  type Target,
} from './support/pushes.ts'
import { postmasterPid, type ServerProcess, startCrashingServer } from './support/server.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const ROUNDS = Number(process.env['SLIPWAY_TEST_ROUNDS'] ?? 4)
const SEED = Number(process.env['SLIPWAY_TEST_SEED'] ?? 20_250)
const CLIENTS = 4

let workspace: Workspace
/** Replaced when a server dies; clients wait for the next one. */
let serving: Promise<ServerProcess>
let host = ''

async function start(): Promise<ServerProcess> {
  const server = await startCrashingServer(workspace)
  host = server.host
  return server
}

beforeAll(async () => {
  workspace = await openWorkspace()
  serving = start()
  await serving
})

afterAll(() => workspace.close())

/** The same seed gives the same numbers, from 0 to below 1. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // A linear congruential generator; only its high bits are used.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return (state >>> 8) / 2 ** 24
  }
}

interface Tally {
  readonly ledger: Ledger
  stopping: boolean
  images: number
  retries: number
}

interface Push {
  readonly to: Target
  readonly image: Image
  readonly tag: string
  readonly flow: Flow
}

async function pushImage({ to, image, tag, flow }: Push, { ledger }: Tally): Promise<void> {
  for (const blob of [image.config, ...image.layers]) {
    await flow.push(to, blob)
    ledger.blobPushed(to.repository, blob.digest)
  }
  await pushManifest(to, image, tag)
  ledger.imagePushed(to.repository, tag, image)
}

/** Whatever a dying server cut off is pushed again, as it was. */
async function pushUntilDone(push: Push, tally: Tally): Promise<void> {
  for (;;) {
    try {
      return await pushImage(push, tally)
    } catch (error) {
      // 503: the database died a moment before the server.
      if (error instanceof Refused && error.answer.status !== 503) throw error
      tally.retries++
      await sleep(10)
      await serving
    }
  }
}

/** Pushes one image after another. */
async function runClient(number: number, tally: Tally): Promise<void> {
  const random = randomNumbers(SEED + number)
  const to = { host: () => host, repository: `kills/client-${number}` }
  for (let count = 0; !tally.stopping; count++) {
    const seed = `${number} ${count}`
    // Some layers are shared with other clients, who push them at the same time.
    const shared = contentOf(`shared ${count}`, 40_000)
    const layer = contentOf(seed, Math.ceil(random() * 400_000))
    const image = imageOf(contentOf(`${seed} config`, 200), [layer, shared])
    const flow = FLOWS[Math.floor(random() * FLOWS.length)] as Flow
    await pushUntilDone({ to, image, tag: `tag-${count % 5}`, flow }, tally)
    tally.images++
    await sleep(random() * 20)
  }
}

it(
  `keeps every acknowledged push over ${ROUNDS} kills at random moments (seed ${SEED})`,
  async () => {
    const random = randomNumbers(SEED)
    const tally: Tally = { ledger: new Ledger(), stopping: false, images: 0, retries: 0 }
    const clients = Array.from({ length: CLIENTS }, (_, number) => runClient(number, tally))
    const failed = Promise.race(clients) // none ends by itself: only a failure settles it
    failed.catch(() => {})

    for (let round = 1; round <= ROUNDS; round++) {
      const server = await serving
      await Promise.race([sleep(150 + random() * 700), failed])
      if (round % 3 === 0) process.kill(postmasterPid(workspace), 'SIGKILL')
      const killed = server.kill()
      serving = killed.then(start)
      await serving
      await expectEveryTagWhole(host)
    }
    tally.stopping = true
    await Promise.all(clients)

    expect(tally.retries, 'pushes that a kill cut off').toBeGreaterThan(0)
    expect(tally.images).toBeGreaterThan(0)
    await tally.ledger.expectWhole(host)
    await expectEveryFileWhole(workspace.storage)
  },
  60_000 + ROUNDS * 15_000,
)
