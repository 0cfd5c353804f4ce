import { once } from 'node:events'
import { connect } from 'node:net'
import { type Request, requestHead } from '../../client/connection.ts'

export interface Drain {
  /** @throws Error unless the answer is a 200 with the bytes it announces */
  get(this: void, request: Request): Promise<void>
  close(this: void): void
}

/** A keep-alive connection that forgets the bytes of an answer as they come. */
export async function openDrain(port: number): Promise<Drain> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  await once(socket, 'connect')
  return { get: (request) => get(request), close: () => void socket.destroy() }

  function get(request: Request): Promise<void> {
    return new Promise((resolve, reject) => {
      let missing: number | undefined
      const settle = (outcome: () => void) => {
        socket.off('data', take).off('close', cut)
        outcome()
      }
      const cut = () => settle(() => reject(new Error('the server closed the connection')))
      const take = (chunk: Buffer) => {
        missing = (missing ?? wholeLength(chunk)) - chunk.length
        if (missing === 0) settle(resolve)
        else if (!(missing > 0)) settle(() => reject(new Error(chunk.toString('latin1', 0, 500))))
      }
      socket.on('data', take).on('close', cut)
      socket.write(requestHead(request), 'latin1')
    })
  }
}

/** Of the head that `chunk` begins with and the body it announces; NaN when it is not a 200. */
function wholeLength(chunk: Buffer): number {
  const headEnd = chunk.indexOf('\r\n\r\n')
  const head = chunk.toString('latin1', 0, headEnd)
  const length = /^content-length: (\d+)/im.exec(head)?.[1]
  if (headEnd < 0 || length === undefined || !head.startsWith('HTTP/1.1 200 ')) return Number.NaN
  return headEnd + 4 + Number(length)
}
