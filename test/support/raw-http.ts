import { connect, type Socket } from 'node:net'

// HTTP/1.1 by hand, for what a well-behaved client cannot do: paths that nothing has normalised,
// bodies that stop in the middle, an answer that is read while the request is still being sent.

export interface RawAnswer {
  readonly status: number
  /** By lower-case name; repeated headers are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** The connection ended before the answer that was waited for. */
export class ConnectionEnded extends Error {
  override readonly name = 'ConnectionEnded'
}

export class RawConnection {
  readonly #host: string
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #wake: () => void = () => {}

  private constructor(host: string, socket: Socket) {
    this.#host = host
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake()
    })
    socket.on('error', () => {}) // 'close' follows
    socket.on('end', () => this.#end())
    socket.on('close', () => this.#end())
  }

  /** @param host `address:port` */
  static async open(host: string): Promise<RawConnection> {
    const [address = '', port] = host.split(':')
    const socket = connect({ host: address, port: Number(port) })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject)
    })
    socket.setNoDelay(true)
    return new RawConnection(host, socket)
  }

  /** Whether the server has closed its side. */
  get ended(): boolean {
    return this.#ended
  }

  /** Sends a request line and headers, and `Host` unless the headers have one. */
  async begin(
    method: string,
    target: string,
    headers: Readonly<Record<string, string | number>> = {},
  ): Promise<void> {
    const all = { Host: this.#host, ...headers }
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    await this.send(Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'))
  }

  /** Resolves when the bytes were handed to the system, or the connection is gone. */
  send(bytes: Uint8Array | string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#ended || this.#socket.destroyed) return resolve()
      this.#socket.write(bytes, () => resolve())
      return undefined
    })
  }

  /** One piece of a body with `Transfer-Encoding: chunked`; an empty one ends it. */
  async sendChunk(bytes: Uint8Array): Promise<void> {
    await this.send(`${bytes.length.toString(16)}\r\n`)
    if (bytes.length > 0) await this.send(bytes)
    await this.send('\r\n')
  }

  /**
   * The next answer, interim ones (1xx) included.
   *
   * @param method of the request, as an answer to HEAD has no body whatever its headers say
   * @throws ConnectionEnded
   */
  async answer(method = 'GET'): Promise<RawAnswer> {
    const head = await this.#takeHead()
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = Number(statusLine.split(' ')[1])
    const headers = parseHeaders(lines)
    const bodyless = method === 'HEAD' || status < 200 || status === 204 || status === 304
    if (bodyless) return { status, headers, body: Buffer.alloc(0) }
    if (headers['transfer-encoding'] === 'chunked') {
      return { status, headers, body: await this.#takeChunks() }
    }
    const length = headers['content-length']
    if (length === undefined) throw new Error(`an answer of unknown length: ${head}`)
    return { status, headers, body: await this.#take(Number(length)) }
  }

  /** Waits until the server has closed the connection. Bytes that still come are dropped. */
  async untilEnded(): Promise<void> {
    while (!this.#ended) await this.#more()
  }

  /** Closes in order, as a process does that exits. */
  close(): Promise<void> {
    return this.#gone(() => this.#socket.destroy())
  }

  /** Closes with a TCP reset, as a cut network looks to the server sooner or later. */
  reset(): Promise<void> {
    return this.#gone(() => this.#socket.resetAndDestroy())
  }

  #gone(leave: () => void): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.closed) return resolve()
      this.#socket.once('close', () => resolve())
      leave()
      return undefined
    })
  }

  #end(): void {
    this.#ended = true
    this.#wake()
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  async #takeHead(): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf('\r\n\r\n')
      if (end >= 0) {
        const head = this.#received.subarray(0, end).toString('latin1')
        this.#received = this.#received.subarray(end + 4)
        return head
      }
      await this.#needMore()
    }
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#received.length < length) await this.#needMore()
    const taken = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return taken
  }

  async #takeChunks(): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (;;) {
      let end = this.#received.indexOf('\r\n')
      for (; end < 0; end = this.#received.indexOf('\r\n')) await this.#needMore()
      const length = Number.parseInt(this.#received.subarray(0, end).toString('latin1'), 16)
      this.#received = this.#received.subarray(end + 2)
      chunks.push(await this.#take(length))
      await this.#take(2)
      if (length === 0) return Buffer.concat(chunks)
    }
  }

  async #needMore(): Promise<void> {
    if (this.#ended) {
      const rest = JSON.stringify(this.#received.toString('latin1').slice(0, 200))
      throw new ConnectionEnded(`the connection ended after ${rest}`)
    }
    await this.#more()
  }
}

/** One request without a body on a connection of its own; the target goes out as it stands. */
export async function rawRequest(
  host: string,
  method: string,
  target: string,
  headers: Readonly<Record<string, string | number>> = {},
): Promise<RawAnswer> {
  const connection = await RawConnection.open(host)
  try {
    await connection.begin(method, target, { Connection: 'close', ...headers })
    return await connection.answer(method)
  } finally {
    await connection.close()
  }
}

function parseHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return headers
}
