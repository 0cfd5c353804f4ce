import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { exchange } from './support/exchange.ts'
import { expectBlob } from './support/inspect.ts'
import { CONTAINERD, contentOf, offsetOf, startSession, type Target } from './support/pushes.ts'
import { type ServerOptions, type ServerProcess, startProgram } from './support/server.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

interface Running {
  readonly workspace: Workspace
  readonly server: ServerProcess
  readonly to: Target
}

async function start(settings: ServerOptions['settings'] = {}): Promise<Running> {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  const server = await startProgram(workspace, { settings })
  return { workspace, server, to: { host: () => server.host, repository: 'stop/tests' } }
}

async function connect({ server }: Pick<Running, 'server'>): Promise<Socket> {
  const [host, port] = server.host.split(':')
  const socket = createConnection({ host, port: Number(port) })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function isRefused(host: string): Promise<boolean> {
  return exchange(host, { method: 'GET', path: '/healthz' }).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  )
}

it('a stop in the middle of an upload lets it finish, and takes no new connection', async () => {
  const running = await start({ 'limits.drainSeconds': '20' })
  const { server, to, workspace } = running
  const content = contentOf('draining', 400_000)
  const session = await startSession(to)
  let refused = false
  const body = async function* () {
    yield content.bytes.subarray(0, 100_000)
    await sleep(200)
    server.signal('SIGTERM')
    await until('new connections are refused', () => isRefused(server.host))
    refused = true
    for (let offset = 100_000; offset < content.bytes.length; offset += 100_000) {
      yield content.bytes.subarray(offset, offset + 100_000)
      await sleep(200)
    }
  }

  const answer = await exchange(server.host, { method: 'PATCH', path: session, body: body() })

  expect(answer.status).toBe(202)
  expect(refused).toBe(true)
  expect(await server.exited).toEqual({ code: 0, signal: null })
  const next = await startProgram(workspace)
  expect(await offsetOf({ host: () => next.host }, session)).toBe(content.bytes.length)
})

it('a stop with a client that is stuck ends when the time to drain is over', async () => {
  const running = await start({ 'limits.drainSeconds': '2' })
  const { server, to } = running
  const content = contentOf('stuck', 16 * 1024 * 1024)
  await CONTAINERD.push(to, content)
  const session = await startSession(to)
  const [reader, writer] = [await connect(running), await connect(running)]
  reader.write(
    `GET /v2/${to.repository}/blobs/${content.digest} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  )
  await once(reader, 'readable')
  writer.write(`PATCH ${session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf`)
  await sleep(200)

  const stoppedAt = performance.now()
  expect(await server.stop()).toEqual({ code: 0, signal: null })
  expect(performance.now() - stoppedAt).toBeGreaterThan(1900)
  expect(performance.now() - stoppedAt).toBeLessThan(8000)
})

it('a stop does not wait for connections on which nothing was asked', async () => {
  const running = await start({ 'limits.drainSeconds': '10' })
  await connect(running)
  const kept = await connect(running)
  kept.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(kept, 'data')

  const stoppedAt = performance.now()
  expect(await running.server.stop()).toEqual({ code: 0, signal: null })
  expect(performance.now() - stoppedAt).toBeLessThan(6000)
})

it('a second server on the same data is refused with a reason', async () => {
  const { workspace, server, to } = await start()
  const content = contentOf('first come', 1000)
  await CONTAINERD.push(to, content)
  const before = workspace.log().length

  await expect(startProgram(workspace)).rejects.toThrow(/"code":1,/)

  const said = workspace.log().slice(before)
  expect(said).toMatch(/^slipway: .*in use/m)
  expect(said).toContain(workspace.data)
  expect(said).toContain(String(server.pid))
  expect(said).not.toMatch(/^\s+at /m)
  await expectBlob(server.host, to.repository, content.digest)
})

it('a server on a port that is taken is refused with a reason, and leaves no database', async () => {
  const { server } = await start()
  const other = await openWorkspace()
  onTestFinished(() => other.close())

  const second = startProgram(other, { settings: { listen: server.host } })

  await expect(second).rejects.toThrow(/"code":1,/)
  expect(other.log()).toMatch(/^slipway: .*(?:EADDRINUSE|in use)/m)
})
