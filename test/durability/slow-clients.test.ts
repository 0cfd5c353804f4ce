import { once } from 'node:events'
import { readdir, readlink } from 'node:fs/promises'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { exchange } from './support/exchange.ts'
import { expectBlob } from './support/inspect.ts'
import {
  CONTAINERD,
  contentOf,
  expectStatus,
  offsetOf,
  patch,
  put,
  startSession,
  type Target,
} from './support/pushes.ts'
import { type ServerProcess, startProgram } from './support/server.ts'
import { openWorkspace, requireUnless, until, type Workspace } from './support/workspace.ts'

const MIB = 1024 * 1024
const IDLE_SECONDS = 2

const noProc = process.platform === 'linux' ? undefined : '/proc needs Linux'

let workspace: Workspace
let server: ServerProcess
const to: Target = { host: () => server.host, repository: 'slow/clients' }
const large = contentOf('large', 32 * MIB)

beforeAll(async () => {
  workspace = await openWorkspace()
  const settings = { 'limits.idleSeconds': String(IDLE_SECONDS) }
  server = await startProgram(workspace, { settings })
  await CONTAINERD.push(to, large)
})

afterAll(() => workspace.close())

/** A connection on which a test writes by hand, and reads only when it wants to. */
async function connect(): Promise<Socket> {
  const [host, port] = server.host.split(':')
  const socket = createConnection({ host, port: Number(port) })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** How many files of the storage the server has open, and how many sockets. */
async function openFiles(): Promise<{ storage: number; sockets: number }> {
  const folder = `/proc/${server.pid}/fd`
  const links = await Promise.all(
    (await readdir(folder)).map((name) => readlink(`${folder}/${name}`).catch(() => '')),
  )
  return {
    storage: links.filter((link) => link.startsWith(workspace.storage)).length,
    sockets: links.filter((link) => link.startsWith('socket:')).length,
  }
}

describe('a client on whose connection nothing moves', () => {
  it('that stops reading a blob is cut, and the file is closed', async (context) => {
    requireUnless(noProc, context)
    const socket = await connect()
    socket.write(
      `GET /v2/${to.repository}/blobs/${large.digest} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    )
    await once(socket, 'readable')
    expect((await openFiles()).storage).toBe(1)

    const stoppedAt = performance.now()
    await until('the file is closed', async () => (await openFiles()).storage === 0)

    expect(performance.now() - stoppedAt).toBeGreaterThan(IDLE_SECONDS * 900)
    expect(performance.now() - stoppedAt).toBeLessThan(IDLE_SECONDS * 4000)
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    await once(socket, 'close')
    expect(received, 'a cut body must not look complete').toBeLessThan(large.bytes.length)
  })

  it('that stops sending a chunk is cut, and the session is free', async (context) => {
    requireUnless(noProc, context)
    const content = contentOf('stopped', MIB)
    const session = await startSession(to)
    const socket = await connect()
    socket.write(`PATCH ${session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${MIB}\r\n\r\n`)
    socket.write(content.bytes.subarray(0, 100_000))
    socket.resume()
    const stoppedAt = performance.now()
    await once(socket, 'close')
    expect(performance.now() - stoppedAt).toBeLessThan(IDLE_SECONDS * 4000)

    await until('the file is closed', async () => (await openFiles()).storage === 0)
    expect(await offsetOf(to, session)).toBe(0)
    const againAt = performance.now()
    expectStatus('PATCH again', await patch(to, session, content.bytes), 202)
    expect(performance.now() - againAt, 'waiting for a lock').toBeLessThan(3000)
    expectStatus('PUT', await put(to, session, content.digest), 201)
  })

  it('is not one that is merely slow', async () => {
    const content = contentOf('slow', 10)
    const session = await startSession(to)
    const slowly = async function* () {
      for (const byte of content.bytes) {
        yield Buffer.of(byte)
        await sleep(IDLE_SECONDS * 250)
      }
    }
    const sent = await exchange(server.host, { method: 'PATCH', path: session, body: slowly() })
    expectStatus('PATCH', sent, 202)
    expectStatus('PUT', await put(to, session, content.digest), 201)
  })
})

describe('aborted transfers', () => {
  it('100 downloads of a range leave no open file and no socket', async (context) => {
    requireUnless(noProc, context)
    await exchange(server.host, { method: 'GET', path: '/v2/' })
    const before = await openFiles()
    const abort = async (number: number) => {
      const socket = await connect()
      const head = `GET /v2/${to.repository}/blobs/${large.digest} HTTP/1.1\r\nHost: localhost\r\n`
      socket.write(`${head}Range: bytes=${number * 1000}-${number * 1000 + 20 * MIB}\r\n\r\n`)
      await once(socket, 'readable')
      socket.destroy()
    }
    for (let number = 0; number < 100; number += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => abort(number + index)))
    }
    await until('all is closed', async () => {
      const { storage, sockets } = await openFiles()
      // The pool may have opened connections to the database meanwhile.
      return storage === 0 && sockets <= before.sockets + 20
    })
    await expectBlob(server.host, to.repository, large.digest)
  })

  it('30 uploads leave no open file, and their sessions stay usable', async (context) => {
    requireUnless(noProc, context)
    const content = contentOf('aborted', 500_000)
    const sessions = await Promise.all(Array.from({ length: 30 }, () => startSession(to)))
    await Promise.all(
      sessions.map(async (session) => {
        const socket = await connect()
        socket.write(
          `PATCH ${session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n`,
        )
        socket.write(content.bytes.subarray(0, 200_000))
        await sleep(100)
        socket.destroy()
      }),
    )
    await until('all is closed', async () => (await openFiles()).storage === 0)
    for (const session of sessions.slice(0, 3)) {
      expectStatus('PUT', await put(to, session, content.digest, content.bytes), 201)
    }
  })
})
