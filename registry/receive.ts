import type { Readable } from 'node:stream'
import { RegistryError } from '../oci/errors.ts'
import type { UploadWriter } from '../storage/blob/blob-store.ts'
import type { RunningHash } from './running-hash.ts'

export interface Receiving {
  readonly writer: UploadWriter
  /** Updated with every byte; undefined when the hash of the bytes before is not known. */
  readonly hash: RunningHash | undefined
  readonly maxBytes: number
  readonly signal: AbortSignal
}

/** The sender went away before the body was whole. */
export class BodyCut extends Error {
  override readonly name = 'BodyCut'

  constructor() {
    super('the request body was cut off')
  }
}

/**
 * Pumps `body` into the writer until it ends, pausing it while the store is behind. The caller
 * finishes or discards the writer.
 *
 * @returns bytes received
 * @throws BodyCut, the signal's reason, the store's failure, RegistryError SIZE_INVALID with
 *   status 413 beyond `maxBytes`
 */
export function receive(body: Readable, receiving: Receiving): Promise<number> {
  const { writer, hash, maxBytes, signal } = receiving
  return new Promise<number>((resolve, reject) => {
    let bytes = 0
    let settled = false

    const settle = (outcome: () => void) => {
      if (settled) return
      settled = true
      body.off('data', onData).off('end', onEnd).off('error', onCut).off('close', onCut)
      signal.removeEventListener('abort', onAbort)
      body.pause()
      body.on('error', () => {}) // a sender that leaves later is not news
      outcome()
    }
    const fail = (error: unknown) => settle(() => reject(asError(error)))
    const onAbort = () => fail(signal.reason)
    const onCut = () => fail(new BodyCut())
    const onEnd = () => settle(() => resolve(bytes))
    const onData = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) return fail(tooLarge(maxBytes))
      hash?.update(chunk)
      const behind = writer.write(chunk)
      if (behind === undefined) return undefined
      body.pause()
      behind.then(() => settled || body.resume(), fail)
      return undefined
    }

    if (signal.aborted) return onAbort()
    if (body.readableEnded) return onEnd()
    if (body.destroyed) return onCut()
    signal.addEventListener('abort', onAbort, { once: true })
    body.on('data', onData).on('end', onEnd).on('error', onCut).on('close', onCut)
    return undefined
  })
}

function tooLarge(maxBytes: number): RegistryError {
  return new RegistryError('SIZE_INVALID', `more than ${maxBytes} bytes`, { status: 413 })
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}
