import type { IncomingMessage, RequestListener, Server } from 'node:http'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../config/config.ts'
import { type Listening, listen } from '../../server/listen.ts'
import { ConnectionEnded, RawConnection, rawRequest } from '../support/raw-http.ts'
import { expectError, expectStatus } from './client.ts'

// The server that faces clients, with handlers of a few lines behind it: what is tried here is
// how connections are treated.

const log = pino({ level: 'silent' })
const open: Listening[] = []
afterEach(async () => {
  for (const listening of open.splice(0)) await listening.stop()
})

async function start(handle: RequestListener, flags: Record<string, string> = {}): Promise<string> {
  const standard = { listen: '127.0.0.1:0', 'limits.drainSeconds': '1' }
  const config = loadConfig({ flags: { ...standard, ...flags }, environment: {} })
  const listening = await listen(handle, config, log)
  open.push(listening)
  return `127.0.0.1:${listening.port}`
}

const countBytes: RequestListener = (request, response) => {
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.once('end', () =>
    response.setHeader('Content-Length', 0).setHeader('X-Bytes', bytes).end(),
  )
}

function serverOf({ socket }: IncomingMessage): Server {
  return (socket as unknown as { server: Server }).server
}

describe('case 13, its clocks: a body', () => {
  it('has no time by which it must have ended', async () => {
    let server: Server | undefined
    const host = await start((request, response) => {
      server = serverOf(request)
      countBytes(request, response)
    })
    expectStatus(await rawRequest(host, 'GET', '/'), 200)
    expect(server?.requestTimeout).toBe(0)
    expect(server?.headersTimeout).toBeGreaterThan(0)
  })

  it('may take longer than the idle time while bytes come', async () => {
    const host = await start(countBytes, { 'limits.idleSeconds': '1' })
    const connection = await RawConnection.open(host)
    await connection.begin('PATCH', '/', { 'Transfer-Encoding': 'chunked' })
    for (let piece = 0; piece < 8; piece++) {
      await connection.sendChunk(Buffer.from('x'))
      await pause(350)
    }
    await connection.sendChunk(Buffer.alloc(0))
    const answer = await connection.answer()
    expectStatus(answer, 200)
    expect(answer.headers['x-bytes']).toBe('8')
    await connection.close()
  })

  it('on which nothing moves for the idle time is given up', async () => {
    const host = await start(countBytes, { 'limits.idleSeconds': '1' })
    const connection = await RawConnection.open(host)
    await connection.begin('PATCH', '/', { 'Content-Length': 10 })
    await connection.send('12345')
    await expect(connection.answer()).rejects.toThrow(ConnectionEnded)
    await connection.close()
  })
})

describe('an idle connection', () => {
  it('is kept longer than clients and load balancers keep theirs', async () => {
    let server: Server | undefined
    const host = await start((request, response) => {
      server = serverOf(request)
      countBytes(request, response)
    })
    const connection = await RawConnection.open(host)
    await connection.begin('GET', '/')
    const answer = await connection.answer()
    expect(server?.keepAliveTimeout).toBeGreaterThan(120_000)
    const told = Number(/timeout=(\d+)/.exec(answer.headers['keep-alive'] ?? '')?.[1] ?? Infinity)
    expect(told).toBeGreaterThan(120)
    await connection.close()
  })
})

describe('what Node itself refuses', () => {
  it('is answered in JSON: headers that are too large, and none that are not', async () => {
    const host = await start(countBytes, { 'limits.headerBytes': '32K' })
    expectStatus(await rawRequest(host, 'GET', '/', { Authorization: 'x'.repeat(24_000) }), 200)
    expectError(
      await rawRequest(host, 'GET', '/', { Authorization: 'x'.repeat(40_000) }),
      431,
      'UNSUPPORTED',
    )
  })

  const broken = {
    'no HTTP at all': 'hello\r\n\r\n',
    'bytes in the target that are no ASCII': 'GET /v2/é/tags/list HTTP/1.1\r\nHost: x\r\n\r\n',
    'a space in the target': 'GET /v2/a b HTTP/1.1\r\nHost: x\r\n\r\n',
    'two lengths': 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'a length and chunks':
      'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a length that is none': 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
  }
  for (const [what, bytes] of Object.entries(broken)) {
    it(`is answered in JSON, and the connection closed: ${what}`, async () => {
      const host = await start(countBytes)
      const connection = await RawConnection.open(host)
      await connection.send(Buffer.from(bytes, 'latin1'))
      const answer = await connection.answer()
      expectError(answer, 400, 'UNSUPPORTED')
      expect(answer.headers['connection']).toBe('close')
      await connection.untilEnded()
      await connection.close()
    })
  }
})

describe('a stop', () => {
  it('waits for the request under way and takes no new connection', async () => {
    const host = await start(countBytes)
    const connection = await RawConnection.open(host)
    await connection.begin('PATCH', '/', { 'Content-Length': 10 })
    await connection.send('12345')
    await pause(50)

    const stopped = open.pop()!.stop()
    await pause(100)
    await expect(RawConnection.open(host)).rejects.toThrow(/ECONNREFUSED/)
    await connection.send('67890')

    expect((await connection.answer()).headers['x-bytes']).toBe('10')
    await stopped
    await connection.close()
  })
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
