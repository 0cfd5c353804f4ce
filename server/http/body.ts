import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../../oci/errors.ts'
import { BodyCut } from '../../registry/receive.ts'

/** Whether bytes follow the headers, as far as these say. */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  return Number(headers['content-length'] ?? 0) > 0
}

/**
 * The whole body, at most `maxBytes`.
 *
 * @throws RegistryError SIZE_INVALID with status 413, at once when the headers announce too much;
 *   BodyCut when the client left
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = () =>
    new RegistryError('SIZE_INVALID', `more than ${maxBytes} bytes`, { status: 413 })
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge()
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
    for await (const chunk of body) {
      bytes += chunk.length
      if (bytes > maxBytes) throw tooLarge()
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof RegistryError ? error : new BodyCut()
  }
  if (!request.complete) throw new BodyCut()
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)
}

const DRAIN_BYTES = 4 * 1024 * 1024
const DRAIN_MS = 1000

/**
 * Reads on, within limits, what a client is still sending although it has its answer: closing at
 * once would reset the connection, and the client might never see the answer.
 */
export async function drain(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return
  let bytes = 0
  const ended = new Promise<void>((resolve) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > DRAIN_BYTES) resolve()
    })
    request.once('end', resolve).once('close', resolve).once('error', resolve)
    request.resume()
  })
  await Promise.race([ended, sleep(DRAIN_MS, undefined, { ref: false })])
}
