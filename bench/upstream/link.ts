import { connect, createServer, type Server, type Socket } from 'node:net'

export interface Traffic {
  readonly requests: number
  /** Of these, the GETs of blobs. */
  readonly blobRequests: number
  /** What the upstream sent, heads included. */
  readonly bytes: number
}

const bufferBytes = 256 * 1024

/** How late a timer may be without bytes being lost by it. */
const slackMs = 20

/**
 * The line between the caches and their upstream: passes bytes on as they are, counts them, and
 * may be slow. All connections share its speed, as they would share a line.
 *
 * Requests are counted by their heads; those with bodies are not understood.
 */
export class Link {
  readonly server: Server
  /** What the line carries from the upstream; Infinity for as much as there is. */
  bytesPerSecond = Number.POSITIVE_INFINITY
  readonly #upstreamPort: number
  #traffic = { requests: 0, blobRequests: 0, bytes: 0 }
  #lastPassed = 0
  /** When the line will have carried all that it was given, by `performance.now()`. */
  #freeAt = 0

  /** @param upstreamPort of 127.0.0.1 */
  constructor(upstreamPort: number) {
    this.#upstreamPort = upstreamPort
    this.server = createServer((client) => this.#join(client))
  }

  /** Since the last reset. */
  get traffic(): Traffic {
    return this.#traffic
  }

  /** How long no byte has passed, either way. */
  get quietMs(): number {
    return performance.now() - this.#lastPassed
  }

  reset(): void {
    this.#traffic = { requests: 0, blobRequests: 0, bytes: 0 }
  }

  #join(client: Socket): void {
    const buffer = Buffer.allocUnsafeSlow(bufferBytes)
    const pass = (length: number) => {
      this.#traffic.bytes += length
      this.#lastPassed = performance.now()
      const waitMs = this.#carry(length)
      // One buffer for each connection: it is filled again when it has been handed on.
      client.write(buffer.subarray(0, length), () => {
        if (waitMs > 1) setTimeout(() => upstream.resume(), waitMs)
        else upstream.resume()
      })
      return false
    }
    const upstream = connect({
      host: '127.0.0.1',
      port: this.#upstreamPort,
      onread: { buffer, callback: pass },
    })
    const count = this.#counter()
    client.on('data', (chunk: Buffer) => {
      count(chunk)
      this.#lastPassed = performance.now()
      upstream.write(chunk)
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => other.end())
    }
  }

  /** @returns how long the line is busy with it, from now on */
  #carry(bytes: number): number {
    const now = performance.now()
    const beganAt = Math.max(this.#freeAt, now - slackMs)
    this.#freeAt = beganAt + (bytes / this.bytesPerSecond) * 1000
    return this.#freeAt - now
  }

  /** Counts the requests of one connection, however they are cut. */
  #counter(): (chunk: Buffer) => void {
    let received = ''
    return (chunk) => {
      const heads = (received + chunk.toString('latin1')).split('\r\n\r\n')
      received = heads.pop() ?? ''
      for (const head of heads) {
        this.#traffic.requests++
        if (/^GET \S+\/blobs\//.test(head)) this.#traffic.blobRequests++
      }
    }
  }
}
