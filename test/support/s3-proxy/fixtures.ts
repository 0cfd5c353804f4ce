import { on, once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { type RawAnswer, RawConnection } from '../raw-http.ts'
import { S3Proxy } from '../s3-proxy.ts'

/** The proxy stands before an HTTP server, which by default answers with the body it got. */
export async function openProxy(listener?: RequestListener) {
  const counts = { bytesRead: 0, answers: 0 }
  const answerDone = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    incoming.on('data', (bytes: Buffer) => {
      counts.bytesRead += bytes.length
    })
    const body = await buffer(incoming)
    counts.answers++
    outgoing.end(`done: ${body.toString()}`)
  }
  const respond: RequestListener =
    listener ??
    ((incoming, outgoing) => {
      answerDone(incoming, outgoing).catch(() => outgoing.destroy()) // the request was cut
    })
  const server = createServer(respond)
  const arrivals = on(server, 'request')
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  const proxy = await S3Proxy.start(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => proxy.stop())
  /** What reaches the server, one after the other. */
  const nextRequest = async () => {
    const { value } = (await arrivals.next()) as { value: [IncomingMessage] }
    return value[0]
  }
  return { proxy, counts, nextRequest }
}

export async function connect(proxy: S3Proxy): Promise<RawConnection> {
  const connection = await RawConnection.open(new URL(proxy.endpoint).host)
  onTestFinished(() => connection.close())
  return connection
}

/** One request on a connection of its own; `line` is its method and target. */
export async function ask(
  proxy: S3Proxy,
  line: string,
  body = '',
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const [method = '', target = ''] = line.split(' ')
  const client = await connect(proxy)
  await client.begin(method, target, { 'Content-Length': body.length, ...headers })
  if (body !== '') await client.send(body)
  return client.answer(method)
}

/** How a request ended: `200`, or the message of the error. */
export function endOf(answer: Promise<RawAnswer>): Promise<string> {
  return answer.then(
    ({ status }) => String(status),
    (error: Error) => error.message,
  )
}

/** How requests end when not a byte of an answer comes. */
export const CUT = 'the connection ended after ""'
