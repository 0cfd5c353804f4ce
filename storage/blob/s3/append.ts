import type { LimitFunction } from 'p-limit'
import pLimit from 'p-limit'
import {
  type Append,
  type Location,
  StorageFull,
  type Upload,
  type UploadWriter,
} from '../blob-store.ts'
import type { Multipart, Part, S3Objects } from './objects.ts'
import { PartBuffer, type SpareBuffers } from './part-buffer.ts'
import { LARGE_PART_BYTES, LEAST_PART_BYTES, MAX_PARTS, partBytes } from './part-sizes.ts'
import { newKey, type S3Upload, uploadOf } from './upload-state.ts'

/** Parts of one upload that are sent at a time, of those that the process may send. */
const IN_FLIGHT = 4

/** What the appends of one process share. */
export interface SharedByAppends {
  readonly objects: S3Objects
  readonly buffers: SpareBuffers
  /** Lets through as many parts as the process may send at a time. */
  readonly sending: LimitFunction
  /** The same for parts that take much memory. */
  readonly sendingLarge: LimitFunction
}

/**
 * Gathers bytes into parts and sends each when the next begins, so that a small blob is one
 * request. What it makes lies under a key of its own until the upload's state names it.
 *
 * Memory: a writer fills one part, and is asked to pause while that part waits to be sent.
 */
export class S3Append implements UploadWriter {
  readonly #shared: SharedByAppends
  readonly #from: S3Upload
  readonly #append: Append
  readonly #onEnd: () => void
  readonly #sending = pLimit(IN_FLIGHT)
  /** Parts that wait to be sent or are being sent. */
  readonly #sends = new Set<Promise<void>>()
  /** Those of them that are being sent. */
  readonly #underWay = new Set<Promise<void>>()
  readonly #abort = new AbortController()
  readonly #stop = () => this.#fail(new Error('the append was given up'))
  readonly #parts: Part[]
  readonly #firstBytes: number
  readonly #leftovers: boolean
  /** That of the multipart upload which is there already, or one of its own. */
  readonly #key: Location
  /** Of how many parts the sending has begun. */
  #numbered: number
  #offset: number
  #part: PartBuffer
  /** That of the state, or one that this append has begun. */
  #multipart: Promise<Multipart> | undefined
  #failure: Error | undefined
  /** This append may have made an object under its key. */
  #placed = false
  #ended = false

  /**
   * `firstBytes`: the size of its first parts, if the upload has none yet. `onEnd` is called once.
   */
  constructor(
    shared: SharedByAppends,
    upload: Upload,
    append: Append & { readonly firstBytes: number },
    onEnd: () => void,
  ) {
    const { tail } = upload
    const state = uploadOf(upload.state)
    this.#shared = shared
    this.#from = state
    this.#append = append
    this.#onEnd = onEnd
    this.#firstBytes = state.multipart?.firstBytes ?? append.firstBytes
    this.#parts = [...(state.multipart?.parts ?? [])]
    this.#numbered = this.#parts.length
    this.#offset = upload.offset
    this.#leftovers = upload.leftovers ?? false
    this.#key = state.key ?? newKey(state.id)
    if (state.multipart !== undefined && state.key !== undefined) {
      const { uploadId } = state.multipart
      this.#multipart = Promise.resolve({ key: state.key, uploadId })
    }
    append.signal?.addEventListener('abort', this.#stop)
    this.#part = this.#newPart((tail?.length ?? 0) + (append.length ?? 0))
    if (tail !== undefined) this.#part.take(tail) // less than a part
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#offset += chunk.length
    return this.#fill(chunk)
  }

  async finish(): Promise<Upload> {
    const { expectsMore } = this.#append
    if (!expectsMore && this.#numbered === 0) await this.#putWhole()
    // What the storage takes as a part is not kept with the session.
    else if (this.#part.length >= (expectsMore ? LEAST_PART_BYTES : 1)) void this.#send()
    await Promise.all(this.#sends)
    if (this.#failure !== undefined) throw this.#failure
    const upload = expectsMore ? await this.#open() : await this.#sealed()
    this.#end()
    return upload
  }

  async discard(): Promise<boolean> {
    if (this.#ended) return true
    this.#fail(new Error('the append was discarded'))
    await Promise.allSettled(this.#underWay)
    const removed = await Promise.allSettled([this.#abortMultipart(), this.#removePlaced()])
    this.#end()
    return removed.every(({ status }) => status === 'fulfilled')
  }

  async abandon(): Promise<void> {
    // All that this append has begun lies under a key that nobody else uses.
    await this.discard()
  }

  #fill(bytes: Uint8Array): Promise<void> | undefined {
    let behind: Promise<void> | undefined
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#part.full) behind = this.#send()
      rest = this.#part.take(rest)
    }
    return behind
  }

  #newPart(expected: number): PartBuffer {
    const capacity = partBytes(this.#numbered + 1, this.#firstBytes)
    return new PartBuffer(capacity, expected, this.#shared.buffers)
  }

  /** Sends the part and begins the next. @returns when it is on its way, and the next may fill */
  #send(): Promise<void> {
    const part = this.#part
    const number = ++this.#numbered
    this.#part = this.#newPart(part.capacity)
    const limit =
      part.capacity > LARGE_PART_BYTES ? this.#shared.sendingLarge : this.#shared.sending
    const started = new Promise<void>((resolve, reject) => {
      const put = () => {
        resolve()
        const putting = this.#putPart(number, part)
        this.#underWay.add(putting)
        return putting.finally(() => this.#underWay.delete(putting))
      }
      const sent = this.#sending(() => limit(put)).catch((error: Error) => {
        this.#fail(error)
        reject(error)
      })
      this.#sends.add(sent)
      void sent.finally(() => this.#sends.delete(sent))
    })
    started.catch(() => {}) // what failed is told by the next write, or by finish
    return started
  }

  async #putPart(number: number, part: PartBuffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (number > MAX_PARTS) throw new StorageFull(`S3 takes no more than ${MAX_PARTS} parts`)
    this.#multipart ??= this.#shared.objects.startMultipart(this.#key)
    const multipart = await this.#multipart
    this.#parts[number - 1] = await this.#shared.objects.putPart(
      multipart,
      number,
      part.bytes,
      this.#abort.signal,
    )
    part.free()
  }

  async #putWhole(): Promise<void> {
    this.#placed = true
    await this.#shared.objects.put(this.#key, this.#part.bytes, this.#abort.signal)
  }

  async #open(): Promise<Upload> {
    const { id } = this.#from
    const multipart = await this.#multipart
    const tail = Buffer.from(this.#part.bytes)
    if (multipart === undefined) return this.#upload({ id }, tail)
    const { key, uploadId } = multipart
    const parts = { uploadId, firstBytes: this.#firstBytes, parts: this.#parts }
    return this.#upload({ id, key, multipart: parts }, tail)
  }

  async #sealed(): Promise<Upload> {
    const multipart = await this.#multipart
    if (multipart !== undefined) {
      this.#placed = true
      await this.#shared.objects.complete(multipart, this.#parts, this.#abort.signal)
    }
    return this.#upload({ id: this.#from.id, key: this.#key })
  }

  #upload(state: S3Upload, tail?: Buffer): Upload {
    return { offset: this.#offset, state: { ...state }, tail, leftovers: this.#leftovers }
  }

  async #abortMultipart(): Promise<void> {
    // One that was there before is still what the session names.
    if (this.#from.multipart !== undefined || this.#multipart === undefined) return
    await this.#shared.objects.abortMultipart(await this.#multipart)
  }

  async #removePlaced(): Promise<void> {
    if (this.#placed && this.#from.multipart === undefined) {
      await this.#shared.objects.delete(this.#key)
    }
  }

  /** From now on nothing that is sent is of any use. */
  #fail(error: Error): void {
    this.#failure ??= error
    this.#abort.abort()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#append.signal?.removeEventListener('abort', this.#stop)
    this.#part.free()
    this.#onEnd()
  }
}
