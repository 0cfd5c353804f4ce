/** Pulls that time their first byte: of the body, as a head may come long before it. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { requestHead } from './connection.ts'
import { authorizationForPaths, type Server } from './server.ts'

export interface PullsJob extends Server {
  readonly kind: 'pulls'
  /** Of a blob. */
  readonly path: string
  readonly sizeBytes: number
  /** At once, over a connection each. */
  readonly times: number
}

export interface PullTimes {
  /** Until the first byte of the content was there. */
  readonly firstByteMs: number
  readonly seconds: number
}

const bufferBytes = 512 * 1024

/** @throws Error when an answer is not the whole of the blob, as far as its size tells */
export async function preparePulls(job: PullsJob): Promise<() => Promise<PullTimes[]>> {
  const pulls = await Promise.all(Array.from({ length: job.times }, () => preparePull(job)))
  return () => Promise.all(pulls.map((pull) => pull()))
}

async function preparePull(job: PullsJob): Promise<() => Promise<PullTimes>> {
  const answer = new Answer(job)
  const socket = connect({
    host: '127.0.0.1',
    port: job.port,
    onread: {
      buffer: Buffer.allocUnsafeSlow(bufferBytes),
      callback: (length, buffer) => answer.receive(Buffer.from(buffer.buffer, 0, length)),
    },
  })
  socket.setNoDelay(true)
  await once(socket, 'connect')
  const authorization = await authorizationForPaths(job, [job.path])
  const headers = authorization === undefined ? {} : { Authorization: authorization }
  return () => answer.over(socket, requestHead({ method: 'GET', target: job.path, headers }))
}

/** The answer to one GET, of which only the head is looked at. */
class Answer {
  readonly #job: PullsJob
  #startedAt = 0
  #firstByteAt: number | undefined
  #head: Buffer | undefined = Buffer.alloc(0)
  #left: number
  #resolve: (times: PullTimes) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(job: PullsJob) {
    this.#job = job
    this.#left = job.sizeBytes
  }

  async over(socket: Socket, request: string): Promise<PullTimes> {
    try {
      return await new Promise((resolve, reject) => {
        this.#resolve = resolve
        this.#reject = reject
        socket.on('error', reject)
        socket.on('close', () =>
          reject(new Error(`${this.#job.path}: ${this.#left} bytes missing`)),
        )
        this.#startedAt = performance.now()
        socket.write(request)
      })
    } finally {
      socket.destroy()
    }
  }

  /** @returns whether to go on reading */
  receive(bytes: Buffer): boolean {
    try {
      const body = this.#head === undefined ? bytes : this.#receiveHead(bytes)
      if (body.length === 0) return true
      this.#firstByteAt ??= performance.now()
      this.#left -= body.length
      if (this.#left > 0) return true
      if (this.#left < 0) throw new Error(`${this.#job.path}: more bytes than it has`)
      this.#end(this.#firstByteAt)
    } catch (error) {
      this.#reject(error)
    }
    return false
  }

  #end(firstByteAt: number): void {
    this.#resolve({
      firstByteMs: firstByteAt - this.#startedAt,
      seconds: (performance.now() - this.#startedAt) / 1000,
    })
  }

  /** @returns what of the body came with it */
  #receiveHead(bytes: Buffer): Buffer {
    const { path, sizeBytes } = this.#job
    const received = Buffer.concat([this.#head ?? Buffer.alloc(0), bytes])
    const end = received.indexOf('\r\n\r\n')
    this.#head = end < 0 ? received : undefined
    if (end < 0) return Buffer.alloc(0)
    const head = received.toString('latin1', 0, end)
    const isWhole = /^content-length: *(\d+)$/im.exec(head)?.[1] === String(sizeBytes)
    if (!head.startsWith('HTTP/1.1 200 ') || !isWhole) {
      throw new Error(`${path}: ${received.toString('latin1', 0, 500)}`)
    }
    return received.subarray(end + 4)
  }
}
