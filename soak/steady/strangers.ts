import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import { type RawAnswer, RawConnection } from '../../test/support/raw-http.ts'
import type { Random } from '../random.ts'
import { basic } from './accounts.ts'
import type { Client } from './client.ts'
import { send } from './http.ts'
import type { Builder } from './images.ts'
import { pause } from './pace.ts'
import { begin, scopeOf } from './pushing.ts'
import { REPOSITORIES } from './repositories.ts'
import { LARGE_TAG } from './tenant.ts'

/**
 * How often each thing is done in a minute at the usual rate. What leaves a session open is done
 * seldom: the server drops at most a hundred of them a minute.
 */
export const PER_MINUTE = {
  'upload cut off': 30,
  'upload left open': 15,
  'reader left': 24,
  'request cut off': 15,
  'bad request': 60,
  'wrong password': 12,
  'no token': 30,
} as const

export type Nuisance = keyof typeof PER_MINUTE

const NO_ANSWER = { status: 0 }
const LARGEST_CUT = 2 ** 22
const NAMES = 12
const ADDRESSES = 50

/** Clients that do what is no good, and leave. */
export class Strangers {
  readonly #client: Client
  readonly #builder: Builder
  readonly #signal: AbortSignal

  constructor(client: Client, builder: Builder, signal: AbortSignal) {
    this.#client = client
    this.#builder = builder
    this.#signal = signal
  }

  async do(nuisance: Nuisance): Promise<void> {
    const { report } = this.#client.load
    await this.#deeds[nuisance]()
    report.nuisance(nuisance)
  }

  readonly #deeds: Readonly<Record<Nuisance, () => Promise<void>>> = {
    'upload cut off': () => this.#cutUpload(),
    'upload left open': () => this.#leaveUpload(),
    'reader left': () => this.#stopReading(),
    'request cut off': () => this.#cutRequest(),
    'bad request': () => this.#askBadly(),
    'wrong password': () => this.#guess(),
    'no token': () => this.#askWithoutToken(),
  }

  /** In the middle of a body; some come back and see what is left of it. */
  async #cutUpload(): Promise<void> {
    const { random } = this.#client
    const repository = random.one(REPOSITORIES)
    const session = await begin(this.#client, repository)
    const bytes = random.from(1000, LARGEST_CUT)
    const authorization = await this.#client.authorization(scopeOf(repository))
    const connection = await this.#connect()
    await connection.begin('PATCH', session, {
      Authorization: authorization,
      ...(random.chance(0.5) ? { 'Content-Length': bytes } : { 'Transfer-Encoding': 'chunked' }),
    })
    const half = this.#builder.large.bytes.subarray(0, bytes / 2)
    // The size of a chunk, or some bytes more.
    await connection.send(`${bytes.toString(16)}\r\n`)
    await Promise.race([connection.send(half), pause(2000, this.#signal)])
    if (random.chance(0.5)) await pause(random.from(0, 1000), this.#signal)
    await (random.chance(0.5) ? connection.reset() : connection.close())
    if (random.chance(0.4)) return
    const scope = scopeOf(repository)
    await this.#client.askAs(scope, { method: 'GET', path: session }, 204)
    await this.#client.askAs(scope, { method: 'DELETE', path: session }, 204)
  }

  async #leaveUpload(): Promise<void> {
    const { random } = this.#client
    const repository = random.one(REPOSITORIES)
    const session = await begin(this.#client, repository)
    const body = Buffer.alloc(random.from(1, 100_000), 'x')
    const sending = { method: 'PATCH', path: session, body }
    if (random.chance(0.5)) await this.#client.askAs(scopeOf(repository), sending, 202)
  }

  /** After the first bytes of much, and some seconds in which the answer stands still. */
  async #stopReading(): Promise<void> {
    const { random, load } = this.#client
    const repository = random.one(REPOSITORIES)
    const token = await this.#client.authorization(scopeOf(repository))
    const [address = '', port] = load.host.split(':')
    load.report.requests++
    const socket = connect(Number(port), address)
    const head = `Host: ${load.host}\r\nAuthorization: ${token}\r\n\r\n`
    const path = `/v2/${repository}/blobs/${this.#builder.large.digest}`
    const first = await firstBytes(socket, `GET ${path} HTTP/1.1\r\n${head}`)
    socket.pause()
    if (!first.startsWith('HTTP/1.1 200 ')) {
      load.report.violation(`GET ${path} of ${LARGE_TAG}: ${first.slice(0, 300)}`)
    }
    await pause(random.from(100, 4000), this.#signal)
    await ended(socket, random)
  }

  async #cutRequest(): Promise<void> {
    const { random } = this.#client
    const connection = await this.#connect()
    const whole = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n'
    await connection.send(whole.slice(0, random.from(0, whole.length - 1)))
    await pause(random.from(0, 500), this.#signal)
    await (random.chance(0.5) ? connection.reset() : connection.close())
  }

  async #askBadly(): Promise<void> {
    const { random } = this.#client
    const repository = random.one(REPOSITORIES)
    const [method, path, statuses, more] = random.one(badRequestsTo(repository))
    const authorization = await this.#client.authorization(scopeOf(repository))
    const connection = await this.#connect()
    await connection.begin(method, path, {
      Connection: 'close',
      Authorization: authorization,
      'Content-Length': more?.length ?? 0,
    })
    if (more !== undefined) await connection.send(more)
    const answer = await connection.answer(method).catch(() => NO_ANSWER)
    this.#expect(`${method} ${path}`, answer, statuses)
    await connection.close()
  }

  /** Not of who is used here, and from elsewhere: the server would lock out both. */
  async #guess(): Promise<void> {
    const { random, load } = this.#client
    const name = random.chance(0.3) ? 'admin' : `guess-${random.from(1, NAMES)}`
    const authorization = basic(name, `wrong-${random.from(1, 1e6)}`)
    const agent = new Agent({ localAddress: `127.0.1.${random.from(1, ADDRESSES)}` })
    const sending = {
      method: 'GET',
      path: '/token?service=slipway',
      headers: { Authorization: authorization },
    }
    load.report.requests++
    this.#expect(`a guess at ${name}`, await send(agent, load.host, sending), [401, 429])
    agent.destroy()
  }

  async #askWithoutToken(): Promise<void> {
    const { random } = this.#client
    const [path, statuses] = random.one([
      ['/v2/', [401]],
      ['/v2/steady/three/tags/list', [401]],
      ['/v2/steady/no-such/tags/list', [401]],
      ['/v2/steady/public/web/tags/list', [200]],
      ['/healthz', [200]],
      ['/token?service=slipway&scope=repository:steady/three:pull', [200]],
    ] as const)
    const method = path.startsWith('/v2/steady') && random.chance(0.2) ? 'HEAD' : 'GET'
    await this.#client.ask({ method, path }, ...statuses)
  }

  #expect(what: string, { status }: Pick<RawAnswer, 'status'>, right: readonly number[]): void {
    const { report } = this.#client.load
    if (status === 503) report.unavailable++
    else if (!right.includes(status)) report.violation(`${what}: ${status}, not ${right.join()}`)
  }

  #connect(): Promise<RawConnection> {
    this.#client.load.report.requests++
    return RawConnection.open(this.#client.load.host)
  }
}

type BadRequest = readonly [
  method: string,
  path: string,
  right: readonly number[],
  body?: Buffer | string,
]

function badRequestsTo(repository: string): BadRequest[] {
  const nothing = `sha256:${'0'.repeat(64)}`
  const own = `/v2/${repository}`
  return [
    ['GET', `/v2/${repository.toUpperCase()}/tags/list`, [400]],
    ['GET', `${own}/manifests/..%2f..%2fetc`, [400, 404]],
    ['GET', `${own}/blobs/sha256:short`, [400]],
    ['GET', `${own}/blobs/${nothing}`, [404]],
    ['GET', `${own}/tags/list?n=minus`, [400]],
    ['PUT', `${own}/manifests/bad`, [400], '{"schemaVersion": 2'],
    ['PUT', `${own}/manifests/${nothing}`, [400], '{}'],
    // The server closes the connection when it has read so much in vain: then there may be no answer.
    ['PUT', `${own}/manifests/large`, [413, NO_ANSWER.status], Buffer.alloc(5 * 2 ** 20)],
    ['POST', `${own}/blobs/uploads/?digest=${nothing}`, [400], 'not that'],
    ['PATCH', `${own}/blobs/uploads/00000000-0000-4000-8000-000000000000`, [404], 'lost'],
    ['DELETE', `${own}/manifests/no-such-tag`, [404]],
    ['PROPFIND', `${own}/tags/list`, [405]],
    ['GET', '/v1/search', [404]],
    ['GET', `/v2/${'long/'.repeat(60)}x/tags/list`, [400]],
  ]
}

function firstBytes(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve) => {
    socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
    socket.once('error', (error) => resolve(error.message))
    socket.once('close', () => resolve('closed'))
    socket.write(request)
  })
}

function ended(socket: Socket, random: Random): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) return resolve()
    socket.once('close', () => resolve())
    if (random.chance(0.5)) socket.destroy()
    else socket.resetAndDestroy()
    return undefined
  })
}
