import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  beginReading,
  expectNothingWrong,
  outcomesOf,
  type Reading,
} from '../durability/support/reading.ts'
import { until } from '../durability/support/workspace.ts'
import { UpstreamProxy } from '../support/upstream/fault-proxy.ts'
import { type PushedImage, pushRandomImage } from '../support/upstream/images.ts'
import type { UpstreamRequest } from '../support/upstream/request.ts'
import { measureMemory } from './support/memory.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const MIB = 2 ** 20
const CLIENTS = 50
const LAYER_BYTES = (process.env['SLIPWAY_TEST_SLOW'] === '1' ? 1024 : 128) * MIB
const CUT_BYTES = Math.floor(LAYER_BYTES * 0.6)
const UNREACHABLE_MS = 2000
/** All the clients hash what they get in this one process, which is what takes the time. */
const PATIENCE_MS = 400_000

/** What buffers of that many clients and a lazy garbage collector may take, whatever the layer. */
const ALLOWED_MIB = 400

const UPSTREAM = 'up.example'
const REPOSITORY = 'team/large'

let workspace: Workspace
let origin: Slipway
let proxy: UpstreamProxy
let slipway: Slipway
let image: PushedImage

beforeAll(async () => {
  workspace = await openWorkspace()
  origin = await startSlipway(workspace, path.join(workspace.directory, 'origin'), {
    environment: {},
  })
  image = await pushRandomImage(
    { url: origin.url },
    { repository: REPOSITORY, layers: [LAYER_BYTES] },
  )
  proxy = await UpstreamProxy.start(origin.url)
  workspace.onClose(() => proxy.close())
  // Each pull of the tag asks whether it is still the same.
  const upstream = { url: proxy.url, privateAddresses: true, freshSeconds: 0 }
  slipway = await startSlipway(workspace, path.join(workspace.directory, 'data'), {
    environment: { SLIPWAY_UPSTREAMS: JSON.stringify({ [UPSTREAM]: upstream }) },
  })
})
afterAll(() => workspace.close())

function pathOf(digest: string): string {
  return `/v2/${UPSTREAM}/${REPOSITORY}/blobs/${digest}`
}

async function expectPulled(digest: string): Promise<void> {
  const { status, ended } = await beginReading(slipway.host, pathOf(digest))
  expect({ status, ...(await ended) }).toMatchObject({ status: 200, digest, isWhole: true })
}

function beginAll(digest: string): Promise<Reading>[] {
  return Array.from({ length: CLIENTS }, () => beginReading(slipway.host, pathOf(digest)))
}

function pullTag() {
  return fetch(`${slipway.url}/v2/${UPSTREAM}/${REPOSITORY}/manifests/${image.tag}`)
}

/** Cut at 60 %, rate limited, unreachable, and dead as soon as the last byte was sent. */
async function misbehave(isLayer: (request: UpstreamRequest) => boolean): Promise<void> {
  proxy.cut(isLayer, { afterBytes: CUT_BYTES })
  const refused = proxy.answer(isLayer, { status: 429, retryAfter: 1, times: 2 })
  await until('the second refusal', () => refused.hits === 2, PATIENCE_MS)
  await sleep(200) // it is on its way
  await proxy.stop()
  await sleep(UNREACHABLE_MS)
  await proxy.restore()
  await until('the last byte', () => proxy.blobBytes >= LAYER_BYTES, PATIENCE_MS)
  await proxy.stop()
  await origin.kill()
}

it(`${CLIENTS} clients get a layer of ${LAYER_BYTES / MIB} MiB from an upstream that dies`, async () => {
  const [config, layer] = [image.configs[0]!, image.layers[0]!]
  expect((await pullTag()).headers.get('docker-content-digest')).toBe(image.digest)
  await expectPulled(config.digest)
  proxy.reset()
  const isLayer = ({ kind, method, path: asked }: UpstreamRequest) =>
    kind === 'blob' && method === 'GET' && asked.includes(layer.digest)

  const beganAt = performance.now()
  const memory = await measureMemory(slipway.pid, async () => {
    const [outcomes] = await Promise.all([outcomesOf(beginAll(layer.digest)), misbehave(isLayer)])
    expect(expectNothingWrong(outcomes, layer)).toBe(CLIENTS)
  })
  const seconds = (performance.now() - beganAt) / 1000

  const asked = proxy.requests('blob').filter(isLayer)
  const statuses = asked.map(({ status, range }) => `${status}${range ? ` (${range})` : ''}`)
  process.stdout.write(
    `${CLIENTS} clients with ${LAYER_BYTES} bytes each in ${seconds.toFixed(1)} s; ` +
      `the upstream answered ${statuses.join(', ')} and sent ${proxy.blobBytes} bytes of blobs; ` +
      `memory of the server: ${memory.beforeMiB.toFixed(0)} MiB before, ` +
      `at most ${memory.peakMiB.toFixed(0)} MiB\n`,
  )
  expect(proxy.blobBytes).toBe(LAYER_BYTES)
  expect(asked.filter(({ status }) => status === 200)).toHaveLength(1)
  expect(memory.peakMiB).toBeLessThan(ALLOWED_MIB)
}, 900_000)

it('another client gets all of it when the upstream is dead, and is told so', async () => {
  const answer = await pullTag()
  expect(answer.status).toBe(200)
  expect(answer.headers.get('docker-content-digest')).toBe(image.digest)
  expect(answer.headers.get('warning')).toMatch(/^299 - ".*up\.example.*"$/)
  for (const { digest } of [...image.configs, ...image.layers]) await expectPulled(digest)
}, 120_000)
