const SMALLEST_BYTES = 64 * 1024
/** Buffers of one size that wait to be used again. */
const SPARE = 8

/**
 * The memory of one part while it is filled and sent. It grows with what is in it, so that a
 * slow or small upload holds little.
 */
export class PartBuffer {
  readonly capacity: number
  readonly #buffers: SpareBuffers
  #memory: Buffer
  #length = 0

  /** `expected`: bytes likely to come. */
  constructor(capacity: number, expected: number, buffers: SpareBuffers) {
    this.capacity = capacity
    this.#buffers = buffers
    this.#memory = buffers.take(Math.min(capacity, Math.max(expected, SMALLEST_BYTES)))
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
    this.#memory = Buffer.alloc(0)
    this.#length = 0
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#memory.length) return
    const size = Math.min(this.capacity, Math.max(bytes, 4 * this.#memory.length))
    const larger = this.#buffers.take(size)
    larger.set(this.bytes)
    this.#buffers.give(this.#memory)
    this.#memory = larger
  }
}

/**
 * Large buffers to use again: fresh memory has to be paid for page by page, and a garbage
 * collector that sees it come and go runs too often.
 */
export class SpareBuffers {
  readonly #size: number
  readonly #spare: Buffer[] = []

  /** Keeps only buffers of `size` bytes. */
  constructor(size: number) {
    this.#size = size
  }

  take(size: number): Buffer {
    return (size === this.#size ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(size)
  }

  give(buffer: Buffer): void {
    if (buffer.length === this.#size && this.#spare.length < SPARE) this.#spare.push(buffer)
  }
}
