import { createHash, randomBytes } from 'node:crypto'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { expect } from 'vitest'
import { openTestRegistry, type TestRegistryOptions } from '../support/registry.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Sent {
  readonly headers?: Readonly<Record<string, string | number>>
  readonly body?: Uint8Array | string
}

/** Keeps connections, adds no header but Host and Content-Length, follows and decodes nothing. */
export class Client {
  readonly host: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 })

  constructor(host: string) {
    this.host = host
  }

  send(method: string, path: string, { headers = {}, body }: Sent = {}): Promise<Answer> {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const chunked = 'Transfer-Encoding' in headers
    const writes = method === 'PUT' || method === 'PATCH' || method === 'POST'
    const length =
      !chunked && (bytes !== undefined || writes) ? { 'Content-Length': bytes?.length ?? 0 } : {}
    const [hostname, port] = this.host.split(':')
    return new Promise((resolve, reject) => {
      const sending = request({
        hostname,
        port,
        path,
        method,
        headers: { ...length, ...headers },
        agent: this.#agent,
      })
      sending.once('error', reject)
      sending.once('response', (response) => {
        const { statusCode: status = 0, headers: received } = response
        buffer(response).then((read) => resolve({ status, headers: received, body: read }), reject)
      })
      sending.end(bytes)
    })
  }

  get(path: string, headers: Sent['headers'] = {}): Promise<Answer> {
    return this.send('GET', path, { headers })
  }

  head(path: string, headers: Sent['headers'] = {}): Promise<Answer> {
    return this.send('HEAD', path, { headers })
  }

  delete(path: string): Promise<Answer> {
    return this.send('DELETE', path)
  }

  close(): void {
    this.#agent.destroy()
  }
}

export interface RunningRegistry {
  readonly client: Client
  readonly registry: Awaited<ReturnType<typeof openTestRegistry>>
  close(this: void): Promise<void>
}

/** The whole server on a free port, and a client for it. */
export async function runRegistry(options: TestRegistryOptions = {}): Promise<RunningRegistry> {
  const registry = await openTestRegistry(options)
  const client = new Client(registry.host)
  return {
    client,
    registry,
    close: async () => {
      client.close()
      await registry.close()
    },
  }
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function sha512(bytes: Uint8Array | string): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`
}

/** Bytes that nobody has pushed before. */
export function someBytes(sizeBytes = 64): Buffer {
  return randomBytes(sizeBytes)
}

export function json(answer: Answer): unknown {
  expect(answer.headers['content-type']).toMatch(/^application\/(?:[\w.]+\+)?json\b/)
  return JSON.parse(answer.body.toString('utf8'))
}

interface AnyAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders | Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Shows the body when the status is another one. */
export function expectStatus({ status, body }: AnyAnswer, expected: number): void {
  expect({ status, body: body.toString('utf8').slice(0, 300) }).toMatchObject({ status: expected })
}

/** The whole form of an error: status, code, JSON type, and details that are strings. */
export function expectError(answer: AnyAnswer, status: number, code: string): void {
  expectStatus(answer, status)
  expect(answer.headers['content-type']).toMatch(/^application\/json(?:; charset=utf-8)?$/)
  const { errors } = JSON.parse(answer.body.toString('utf8')) as {
    errors: { code: string; message: string; detail?: unknown }[]
  }
  expect(errors[0]?.code).toBe(code)
  for (const { message, detail } of errors) {
    expect(typeof message).toBe('string')
    expect(['string', 'undefined']).toContain(typeof detail)
  }
}

/** @returns the path of a new upload session, checked to be one that every client can use */
export async function startUpload(client: Client, repository: string): Promise<string> {
  const answer = await client.send('POST', `/v2/${repository}/blobs/uploads/`)
  expectStatus(answer, 202)
  const location = locationOf(answer)
  expect(location).toMatch(/^\/v2\/[^?#%]+\/blobs\/uploads\/[0-9a-f-]{36}$/)
  return location
}

export function locationOf({ headers }: Answer): string {
  expect(headers.location).toBeDefined()
  return headers.location ?? ''
}

/** Bytes `first` to `last` of `blob` as a chunk. */
export function sendChunk(
  client: Client,
  location: string,
  blob: Uint8Array,
  [first, last]: readonly [number, number],
): Promise<Answer> {
  return client.send('PATCH', location, {
    headers: { 'Content-Range': `${first}-${last}`, 'Content-Type': 'application/octet-stream' },
    body: blob.subarray(first, last + 1),
  })
}

/** @returns the digest, by which the blob can be pulled now */
export async function pushBlob(
  client: Client,
  repository: string,
  bytes: Uint8Array | string,
  digest = sha256(bytes),
): Promise<string> {
  const location = await startUpload(client, repository)
  const answer = await client.send('PUT', `${location}?digest=${digest}`, { body: bytes })
  expectStatus(answer, 201)
  return digest
}

export async function expectBlob(
  client: Client,
  repository: string,
  bytes: Uint8Array,
  digest = sha256(bytes),
): Promise<void> {
  const answer = await client.get(`/v2/${repository}/blobs/${digest}`)
  expect(answer.status).toBe(200)
  expect(answer.body.equals(bytes)).toBe(true)
}
