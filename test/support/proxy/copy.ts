import type { IncomingMessage } from 'node:http'
import type { Writable } from 'node:stream'

/** Leaving the loop over them does not destroy the message. */
export function piecesOf(message: IncomingMessage): AsyncIterable<Buffer> {
  return message.iterator({ destroyOnReturn: false })
}

export interface Bounds {
  /** Asked before each piece, whether the rest is no longer wanted. */
  readonly isEnough?: () => Promise<boolean>
}

/**
 * Copies at the pace of the slower side. The head goes out in any case.
 *
 * @returns whether that was all
 */
export async function copy(
  from: AsyncIterable<Buffer>,
  to: Writable,
  count: (bytes: number) => void,
  { isEnough = () => Promise.resolve(false) }: Bounds = {},
): Promise<boolean> {
  await write(to, Buffer.alloc(0))
  for await (const piece of from) {
    if (await isEnough()) return false
    await write(to, piece)
    count(piece.length)
  }
  return true
}

/** Resolves when the system has the bytes. */
function write(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the connection was closed'))
    to.once('close', onClose)
    to.write(bytes, (error) => {
      to.off('close', onClose)
      if (error) reject(error)
      else resolve()
    })
  })
}
