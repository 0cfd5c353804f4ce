import { randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseDigest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import { createPullThrough } from '../../registry/pull-through/pull-through.ts'
import type { Registry } from '../../registry/registry.ts'
import { Spool } from '../../storage/blob/spool.ts'
import { findFetch } from '../../storage/metadata/fetches.ts'
import { Client, pushBlob, sha256 } from '../acceptance/client.ts'
import type { PushedImage } from '../support/upstream/images.ts'
import { pull } from '../support/upstream/pull.ts'
import type { UpstreamRequest } from '../support/upstream/request.ts'
import { beginPull, rest, take } from './reading.ts'
import { NAME, openStage, type Stage, type StageOptions } from './stage.ts'

const SIZE = 4 * 1024 * 1024
const REPOSITORY = 'team/app'
const HERE = parseRepositoryName(`${NAME}/${REPOSITORY}`)

let stage: Stage
let image: PushedImage
let layer: PushedImage['layers'][number]

async function open(options: StageOptions = {}): Promise<void> {
  stage = await openStage(options)
  image = await stage.upstream.push({ repository: REPOSITORY, layers: [SIZE] })
  layer = image.layers[0]!
  // From then on there is a token, so that the first request for the blob is the one that counts.
  await pull(address(), {}, 'HEAD')
  stage.proxy.reset()
}

afterEach(() => stage.close())

function address(digest = layer.digest): string {
  return `${stage.url}/v2/${HERE}/blobs/${digest}`
}

function pullLayer(headers: Record<string, string> = {}) {
  return pull(address(), headers)
}

function begin(headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return beginPull(address(), headers)
}

function isIdle(): boolean {
  return stage.here.registry.pullThrough.fetches.size === 0
}

function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  return vi.waitFor(async () => expect(await condition()).toBe(true), 20_000)
}

async function isKept(): Promise<boolean> {
  const { status, headers } = await pull(address(), {}, 'HEAD')
  return status === 200 && headers['cache-status'] === 'Slipway; hit'
}

describe('a blob on its way', () => {
  beforeEach(() => open())

  it('is fetched once, however many want it', async () => {
    stage.proxy.throttle('blob', { bytesPerSecond: 8 * SIZE })
    const all = await Promise.all(Array.from({ length: 20 }, () => pullLayer()))
    expect(all.map(({ body }) => sha256(body))).toEqual(all.map(() => layer.digest))
    expect(stage.proxy.blobBytes).toBe(SIZE)
    expect(stage.proxy.requests('blob').filter(({ status }) => status === 200)).toHaveLength(1)
    await until(isKept)
  })

  it('reaches its first reader before it is whole, and late ones from its beginning', async () => {
    const stalled = stage.proxy.stall('blob', { afterBytes: SIZE / 2 })
    const first = await begin()
    expect(first.headers['content-length']).toBe(String(SIZE))
    expect(first.headers['docker-content-digest']).toBe(layer.digest)
    const firstHalf = await take(first, SIZE / 4)
    const late = await begin()
    const lateHalf = await take(late, SIZE / 4)
    stalled.clear()
    expect(sha256(Buffer.concat([firstHalf, await rest(first)]))).toBe(layer.digest)
    expect(sha256(Buffer.concat([lateHalf, await rest(late)]))).toBe(layer.digest)
    expect(stage.proxy.blobBytes).toBe(SIZE)
  })

  it('answers ranges inside of what is there, and ahead of it', async () => {
    const stalled = stage.proxy.stall('blob', { afterBytes: SIZE / 2 })
    await begin()
    const inside = await pullLayer({ Range: 'bytes=1000-1999' })
    expect(inside.status).toBe(206)
    expect(inside.headers['content-range']).toBe(`bytes 1000-1999/${SIZE}`)
    const ahead = await begin({ Range: `bytes=${SIZE - 1000}-` })
    expect(ahead.statusCode).toBe(206)
    stalled.clear()
    const tail = await rest(ahead)
    const whole = await pullLayer()
    expect(inside.body.equals(whole.body.subarray(1000, 2000))).toBe(true)
    expect(tail.equals(whole.body.subarray(SIZE - 1000))).toBe(true)
    expect(stage.proxy.blobBytes).toBe(SIZE)
  })

  it('goes on when everybody who wanted it has left', async () => {
    const stalled = stage.proxy.stall('blob', { afterBytes: 1000 })
    const reader = await begin()
    await take(reader, 1)
    reader.destroy()
    stalled.clear()
    await until(isKept)
    expect(stage.proxy.blobBytes).toBe(SIZE)
  })

  it('goes on when a reader stops reading', async () => {
    const idle = await begin()
    await take(idle, 1)
    await until(isKept)
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
    idle.destroy()
  })

  it('is not fetched for who only asks how large it is', async () => {
    const { status, headers } = await pull(address(), {}, 'HEAD')
    expect(status).toBe(200)
    expect(headers['content-length']).toBe(String(SIZE))
    expect(stage.proxy.blobBytes).toBe(0)
    expect(isIdle()).toBe(true)
  })
})

function isContinued({ kind, range }: UpstreamRequest): boolean {
  return kind === 'blob' && range !== undefined
}

describe('an upstream that breaks off', () => {
  beforeEach(() => open())

  it('is asked for the rest by its range', async () => {
    stage.proxy.cut('blob', { afterBytes: SIZE / 2 })
    const all = await Promise.all(Array.from({ length: 5 }, () => pullLayer()))
    expect(all.map(({ body }) => sha256(body))).toEqual(all.map(() => layer.digest))
    const asked = stage.proxy.requests('blob').filter(({ method }) => method === 'GET')
    expect(asked.map(({ range }) => range)).toEqual([undefined, `bytes=${SIZE / 2}-`])
    expect(stage.proxy.blobBytes).toBe(SIZE)
  })

  it('and then answers with the whole: what is known of it is dropped', async () => {
    stage.proxy.ignoreRange(isContinued)
    stage.proxy.cut('blob', { afterBytes: SIZE / 2 })
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
    expect(stage.proxy.blobBytes).toBe(SIZE * 1.5)
  })

  it('and says when to come back is asked then', async () => {
    stage.proxy.cut('blob', { afterBytes: SIZE / 2 })
    const refused = stage.proxy.answer(isContinued, { status: 429, retryAfter: 1 })
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
    expect(refused.hits).toBe(1)
    expect(stage.proxy.blobBytes).toBe(SIZE)
  })

  it('and is gone for a while is asked again', async () => {
    stage.proxy.stall('blob', { afterBytes: SIZE / 2 })
    const reader = await begin()
    const half = await take(reader, SIZE / 4)
    await stage.proxy.stop()
    await stage.proxy.restore()
    expect(sha256(Buffer.concat([half, await rest(reader)]))).toBe(layer.digest)
  })
})

describe('an upstream that sends something else', () => {
  beforeEach(() => open())

  it('is not passed on as whole, nor kept', async () => {
    stage.proxy.corrupt('blob', { at: 5 })
    const wrong = await pullLayer()
    // An error, if it was found out before the headers went.
    expect(wrong.status === 503 || !wrong.isWhole).toBe(true)
    expect(wrong.body.length).toBeLessThan(SIZE)
    await until(isIdle)
    expect(await isKept()).toBe(false)
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
  })

  it('is refused when its size is not the one that the manifest states', async () => {
    expect((await pull(`${stage.url}/v2/${HERE}/manifests/latest`)).status).toBe(200)
    stage.proxy.truncate('blob', { missingBytes: 1, announced: true })
    const refused = await pullLayer()
    expect(refused.status).toBe(503)
    expect(refused.body.toString()).toContain(`${NAME}: ${layer.digest} has ${SIZE - 1} bytes`)
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
  })

  it('is refused when it is more than a blob may have', async () => {
    await stage.close()
    await open({ limits: { uploadBytes: SIZE - 1 } })
    const refused = await pullLayer()
    expect(refused.status).toBe(503)
    expect(refused.body.toString()).toContain('limits.uploadBytes')
    expect(await isKept()).toBe(false)
  })
})

describe('an upstream that does not answer', () => {
  beforeEach(() => open({ patience: { content: 300 } }))

  it('gives an error while nothing is known of the blob', async () => {
    stage.proxy.hang('blob')
    const refused = await pullLayer()
    expect(refused.status).toBe(503)
    expect(refused.headers['retry-after']).toMatch(/^\d+$/)
    expect(JSON.parse(refused.body.toString()).errors[0].message).toContain(`${NAME}: no answer`)
  })

  it('lets the headers go when a manifest tells the size, and the bytes follow', async () => {
    expect((await pull(`${stage.url}/v2/${HERE}/manifests/latest`)).status).toBe(200)
    const hanging = stage.proxy.hang('blob')
    const answer = await begin()
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['content-length']).toBe(String(SIZE))
    hanging.clear()
    expect(sha256(await rest(answer))).toBe(layer.digest)
  })
})

describe('a blob that another repository has', () => {
  beforeEach(() => open())

  it('is not given away to who knows its digest', async () => {
    const client = new Client(stage.here.host)
    const digest = await pushBlob(client, 'private/app', randomBytes(1000))
    client.close()
    expect((await pull(address(digest))).status).toBe(404)
    expect((await pull(address(digest), {}, 'HEAD')).status).toBe(404)
  })

  it('is fetched of an upstream that has it too, as its word alone is no proof', async () => {
    const client = new Client(stage.here.host)
    const bytes = randomBytes(2000)
    await pushBlob(client, 'private/app', bytes)
    client.close()
    const digest = sha256(bytes)
    stage.proxy.answer(({ kind, method }) => kind === 'blob' && method === 'HEAD', {
      status: 200,
      headers: { 'Content-Length': '2000' },
      times: Number.POSITIVE_INFINITY,
    })
    expect((await pull(address(digest))).status).toBe(404)
  })

  it('is linked when the same upstream has it there, and says that it has it here', async () => {
    expect(sha256((await pullLayer()).body)).toBe(layer.digest)
    await until(isIdle)
    await stage.upstream.copy(REPOSITORY, 'team/other', layer.digest)
    stage.proxy.reset()
    const other = `${stage.url}/v2/${NAME}/team/other/blobs/${layer.digest}`
    expect(sha256((await pull(other)).body)).toBe(layer.digest)
    expect(stage.proxy.blobBytes).toBe(0)
    const absent = `${stage.url}/v2/${NAME}/team/third/blobs/${layer.digest}`
    expect((await pull(absent)).status).toBe(404)
  })
})

/** As another process has it: nothing in common but database, storage and upstreams. */
function another(spool: string): Registry {
  const { registry, root } = stage.here
  const pullThrough = createPullThrough({
    db: registry.db,
    process: randomUUID(),
    spool: new Spool(path.join(root, spool)),
    log: registry.log,
  })
  pullThrough.upstreams.replace(registry.pullThrough.upstreams.all)
  return { ...registry, pullThrough }
}

function joinIn(registry: Registry) {
  const { upstreams, fetches } = registry.pullThrough
  const source = upstreams.all[0]!.repository(REPOSITORY)!
  return fetches.join(registry, source, parseDigest(layer.digest))
}

async function readAll(registry: Registry): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of joinIn(registry).read({ first: 0, last: SIZE - 1 })) {
    pieces.push(Buffer.from(piece))
  }
  return Buffer.concat(pieces)
}

describe('several processes on one database', () => {
  beforeEach(() => open())

  it.each(['spool', 'elsewhere'])('fetch a blob once, with the spool in %s', async (spool) => {
    const stalled = stage.proxy.stall('blob', { afterBytes: SIZE / 2 })
    const reader = await begin()
    const half = await take(reader, SIZE / 4)
    const others = [another(spool), another(spool)]
    const read = others.map((each) => readAll(each))
    const sizes = await Promise.all(others.map((each) => joinIn(each).size()))
    expect(sizes).toEqual([SIZE, SIZE])
    stalled.clear()
    expect(sha256(Buffer.concat([half, await rest(reader)]))).toBe(layer.digest)
    for (const body of await Promise.all(read)) expect(sha256(body)).toBe(layer.digest)
    expect(stage.proxy.blobBytes).toBe(SIZE)
    await until(() => others.every(({ pullThrough }) => pullThrough.fetches.size === 0))
  })

  it('go on where one that stops has left off', async () => {
    stage.proxy.stall('blob', { afterBytes: SIZE / 2 })
    const reader = await begin()
    await take(reader, SIZE / 4)
    await stage.here.registry.pullThrough.fetches.close()
    expect(
      await findFetch(stage.here.registry.db, {
        upstream: NAME,
        kind: 'blob',
        digest: parseDigest(layer.digest),
      }),
    ).toBeUndefined()
    expect(sha256(await readAll(another('spool')))).toBe(layer.digest)
    const asked = stage.proxy.requests('blob').filter(({ method }) => method === 'GET')
    expect(asked.at(-1)!.range).toMatch(/^bytes=\d{6,}-$/)
    // What was on its way to the one that stopped counts twice.
    expect(stage.proxy.blobBytes).toBeLessThan(SIZE * 1.5)
  })
})
