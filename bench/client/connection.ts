import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { authorizationFor, repositoryOf, type Server } from './server.ts'

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  /** Path and query. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent with its length, or as it is when `chunked` says that it is framed already. */
  readonly body?: Buffer
  readonly chunked?: boolean
}

export interface Response {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

interface Waiter {
  readonly isHead: boolean
  resolve(response: Response): void
  reject(error: Error): void
}

/**
 * A keep-alive HTTP/1.1 connection that does as little as a load generator can: one
 * request at a time, no pipelining, no retries, no decoding of chunked answers. Where the server
 * asks for tokens it shows one for the repository that a request names.
 */
export class Connection {
  readonly #socket: Socket
  readonly #server: Server
  #received: Buffer = Buffer.alloc(0)
  #waiter: Waiter | undefined
  #failure: Error | undefined

  private constructor(socket: Socket, server: Server) {
    this.#socket = socket
    this.#server = server
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the server closed the connection')))
  }

  static async open(server: Server): Promise<Connection> {
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    return new Connection(socket, server)
  }

  /** @throws Error when the connection ends before the answer is complete */
  async request(request: Request): Promise<Response> {
    const head = requestHead(await this.authorized(request))
    this.#socket.cork()
    this.#socket.write(head, 'latin1')
    if (request.body !== undefined) this.#socket.write(request.body)
    this.#socket.uncork()
    return this.answer(request.method === 'HEAD')
  }

  /** The request with what shows who asks. */
  async authorized(request: Request): Promise<Request> {
    if (this.#server.account === undefined) return request
    const repository = repositoryOf(request.target)
    const asked = repository === undefined ? [] : [repository]
    const authorization = await authorizationFor(this.#server, asked)
    if (authorization === undefined) return request
    return { ...request, headers: { ...request.headers, Authorization: authorization } }
  }

  /** Sends raw bytes: parts of a request whose answer `answer` will give. */
  write(bytes: Buffer | string): void {
    this.#socket.write(bytes)
  }

  answer(isHead = false): Promise<Response> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiter = { isHead, resolve, reject }
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    const waiter = this.#waiter
    if (waiter === undefined) return
    try {
      const parsed = parseResponse(this.#received, waiter.isHead)
      if (parsed === undefined) return
      this.#received = this.#received.subarray(parsed.lengthBytes)
      this.#waiter = undefined
      waiter.resolve(parsed.response)
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiter?.reject(error)
    this.#waiter = undefined
  }
}

export function requestHead({ method, target, headers = {}, body, chunked }: Request): string {
  const framing = chunked
    ? 'Transfer-Encoding: chunked\r\n'
    : method === 'GET' || method === 'HEAD'
      ? ''
      : `Content-Length: ${body?.length ?? 0}\r\n`
  let head = `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${framing}`
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`
  return `${head}\r\n`
}

/** `bytes` as the chunks that Docker's client would send, up to 32 KiB each, with the last. */
export function frameChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 32_768) {
    parts.push(frameChunk(bytes.subarray(at, at + 32_768)))
  }
  parts.push(Buffer.from(lastChunk))
  return Buffer.concat(parts)
}

export function frameChunk(bytes: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ])
}

export const lastChunk = '0\r\n\r\n'

function parseResponse(
  bytes: Buffer,
  isHead: boolean,
): { response: Response; lengthBytes: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const status = Number(statusLine.split(' ')[1])
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  const hasBody = !isHead && status !== 204 && status !== 304
  if (hasBody && headers.has('transfer-encoding')) {
    throw new Error(`a chunked answer, status ${status}, which this client does not read`)
  }
  const bodyStart = headEnd + 4
  const lengthBytes = bodyStart + (hasBody ? Number(headers.get('content-length') ?? 0) : 0)
  if (bytes.length < lengthBytes) return undefined
  return {
    response: { status, headers, body: bytes.subarray(bodyStart, lengthBytes) },
    lengthBytes,
  }
}
