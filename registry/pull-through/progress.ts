import type { Growth } from './growing-file.ts'

/** How far a fetch is, for all who wait for it. */
export class Progress implements Growth {
  sizeBytes = 0
  state: Growth['state'] = 'growing'
  failure: unknown
  file: string | undefined
  arrived = 0
  isVerified = false
  #change = () => {}
  #changed = this.#next()

  changed(): Promise<void> {
    return this.state === 'growing' ? this.#changed : Promise.resolve()
  }

  opened(sizeBytes: number): void {
    this.sizeBytes = sizeBytes
    this.tick()
  }

  growsIn(file: string): void {
    this.file = file
  }

  /** So many bytes, from the first on, were handed to whoever writes the file. */
  hasArrived(bytes: number): void {
    this.arrived = bytes
    this.tick()
  }

  verified(): void {
    this.isVerified = true
    this.tick()
  }

  settle(state: 'whole' | 'failed', failure?: unknown): void {
    this.state = state
    this.failure = failure
    this.tick()
  }

  tick(): void {
    const change = this.#change
    this.#changed = this.#next()
    change()
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#change = resolve
    })
  }
}
