const SMALLEST_BYTES = 64 * 1024
/** Bytes in buffers that wait to be used again, and their least size. */
const SPARE_BYTES = 64 * 1024 * 1024
const LEAST_SPARE_BYTES = 4 * 1024 * 1024

const NOTHING = Buffer.alloc(0)

/**
 * The memory of one part while it is filled and sent. It grows with what is in it, so that a
 * slow or small upload holds little.
 */
export class PartBuffer {
  readonly capacity: number
  readonly #expected: number
  readonly #buffers: SpareBuffers
  #memory: Buffer = NOTHING
  #length = 0

  /** `expected`: bytes likely to come. */
  constructor(capacity: number, expected: number, buffers: SpareBuffers) {
    this.capacity = capacity
    this.#expected = expected
    this.#buffers = buffers
  }

  get length(): number {
    return this.#length
  }

  get full(): boolean {
    return this.#length === this.capacity
  }

  /** Valid until {@link free}. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length)
  }

  /** Takes what fits. @returns the rest of `chunk` */
  take(chunk: Uint8Array): Uint8Array {
    const taken = Math.min(chunk.length, this.capacity - this.#length)
    this.#makeRoom(this.#length + taken)
    this.#memory.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), this.#length)
    this.#length += taken
    return chunk.subarray(taken)
  }

  /** Lets others use the memory: nobody may read from it any more. */
  free(): void {
    this.#buffers.give(this.#memory)
    this.#memory = NOTHING
    this.#length = 0
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#memory.length) return
    const wanted = Math.max(bytes, this.#expected, SMALLEST_BYTES, 4 * this.#memory.length)
    const larger = this.#buffers.take(Math.min(this.capacity, wanted))
    larger.set(this.bytes)
    this.#buffers.give(this.#memory)
    this.#memory = larger
  }
}

/**
 * Large buffers to use again: fresh memory has to be paid for page by page, and what is left to
 * the garbage collector stays for a while.
 */
export class SpareBuffers {
  readonly #spare = new Map<number, Buffer[]>()
  #bytes = 0

  take(size: number): Buffer {
    const spare = this.#spare.get(size)?.pop()
    if (spare === undefined) return Buffer.allocUnsafeSlow(size)
    this.#bytes -= size
    return spare
  }

  give(buffer: Buffer): void {
    const size = buffer.length
    if (size < LEAST_SPARE_BYTES || this.#bytes + size > SPARE_BYTES) return
    this.#bytes += size
    const spare = this.#spare.get(size)
    if (spare === undefined) this.#spare.set(size, [buffer])
    else spare.push(buffer)
  }
}
