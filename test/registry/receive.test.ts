import { PassThrough, Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { BodyCut, receive } from '../../registry/receive.ts'
import { NativeHash } from '../../registry/running-hash.ts'
import { StorageFull, type UploadWriter } from '../../storage/blob/blob-store.ts'

/** A writer in memory, whose answer to each chunk the test gives. */
class MemoryWriter implements UploadWriter {
  readonly chunks: Buffer[] = []
  readonly #answer: () => Promise<void> | undefined

  constructor(answer: () => Promise<void> | undefined = () => undefined) {
    this.#answer = answer
  }

  write(chunk: Uint8Array) {
    this.chunks.push(Buffer.from(chunk))
    return this.#answer()
  }

  async finish() {
    return { offset: this.length, state: {} }
  }

  async discard() {
    return true
  }

  async abandon() {}

  get length(): number {
    return Buffer.concat(this.chunks).length
  }
}

function receiving(writer: UploadWriter, maxBytes = Number.POSITIVE_INFINITY) {
  const controller = new AbortController()
  const hash = new NativeHash('sha256')
  return { controller, hash, terms: { writer, hash, maxBytes, signal: controller.signal } }
}

const settle = async () => {
  for (let count = 0; count < 10; count++) await turn()
}

describe('a body', () => {
  it('is written and hashed in order', async () => {
    const parts = Array.from({ length: 100 }, (_, index) => Buffer.from(`part ${index} `))
    const writer = new MemoryWriter()
    const { hash, terms } = receiving(writer)
    const content = Buffer.concat(parts)
    expect(await receive(Readable.from(parts), terms)).toBe(content.length)
    expect(Buffer.concat(writer.chunks).equals(content)).toBe(true)
    expect(hash.digest()).toBe(digestOf(content))
    expect(hash.offset).toBe(content.length)
  })

  it('may be empty, or at its end already', async () => {
    const body = Readable.from([])
    expect(await receive(body, receiving(new MemoryWriter()).terms)).toBe(0)
    expect(await receive(body, receiving(new MemoryWriter()).terms)).toBe(0)
  })

  it('that was cut off is no body', async () => {
    const body = new PassThrough()
    const writer = new MemoryWriter()
    const received = receive(body, receiving(writer).terms)
    body.write('half')
    await settle()
    body.destroy()
    await expect(received).rejects.toThrow(BodyCut)
    expect(writer.length).toBe(4)
  })

  it('that breaks, or is gone already, was cut off', async () => {
    const breaking = new PassThrough()
    const received = receive(breaking, receiving(new MemoryWriter()).terms)
    breaking.destroy(new Error('aborted'))
    await expect(received).rejects.toThrow(BodyCut)
    await expect(receive(breaking, receiving(new MemoryWriter()).terms)).rejects.toThrow(BodyCut)
  })

  it('waits while the store is behind', async () => {
    let catchUp!: () => void
    const writer = new MemoryWriter(() => new Promise((resolve) => (catchUp = resolve)))
    const body = new PassThrough()
    const received = receive(body, receiving(writer).terms)
    body.write('one')
    await settle()
    body.write('two')
    body.end('three')
    await settle()
    expect(writer.chunks.map(String)).toEqual(['one'])
    for (let count = 0; count < 5; count++) {
      catchUp()
      await settle()
    }
    expect(await received).toBe(11)
    expect(Buffer.concat(writer.chunks).toString()).toBe('onetwothree')
  })

  it('ends with the failure of the store', async () => {
    const full = new StorageFull('the disk is full')
    const writer = new MemoryWriter(() => Promise.reject(full))
    const body = new PassThrough()
    const received = receive(body, receiving(writer).terms)
    body.write('one')
    await expect(received).rejects.toBe(full)
    body.write('two')
    await settle()
    expect(writer.chunks).toHaveLength(1)
  })

  it('ends with the reason of who takes over, also while the store is behind', async () => {
    const writer = new MemoryWriter(() => new Promise(() => {}))
    const { controller, terms } = receiving(writer)
    const body = new PassThrough()
    const received = receive(body, terms)
    body.write('one')
    await settle()
    controller.abort(new Error('taken over'))
    await expect(received).rejects.toThrow('taken over')
    body.write('two')
    await settle()
    expect(writer.chunks).toHaveLength(1)
  })

  it('is not begun when somebody took over already', async () => {
    const writer = new MemoryWriter()
    const { controller, terms } = receiving(writer)
    controller.abort(new Error('taken over'))
    await expect(receive(Readable.from(['one']), terms)).rejects.toThrow('taken over')
    expect(writer.chunks).toHaveLength(0)
  })

  it('may be as long as the limit, and not a byte longer', async () => {
    const exact = new MemoryWriter()
    expect(await receive(Readable.from([Buffer.alloc(10)]), receiving(exact, 10).terms)).toBe(10)
    const over = new MemoryWriter()
    const body = Readable.from([Buffer.alloc(10), Buffer.alloc(1)])
    await expect(receive(body, receiving(over, 10).terms)).rejects.toMatchObject({
      code: 'SIZE_INVALID',
      status: 413,
    })
    expect(over.length).toBeLessThanOrEqual(10)
  })

  it('is left without listeners, but for a failure that nobody waits for', async () => {
    const body = new PassThrough()
    const { controller, terms } = receiving(new MemoryWriter())
    const received = receive(body, terms)
    controller.abort(new Error('taken over'))
    await expect(received).rejects.toThrow('taken over')
    expect(body.listenerCount('data')).toBe(0)
    body.destroy(new Error('later'))
    await settle()
    expect(body.destroyed).toBe(true)
  })
})
