/** What the scrub did in this process since it began. */
export class ScrubCounts {
  #blobs = 0
  #bytes = 0
  #quarantined = 0

  /** A blob of so many bytes was read and found to be whole. */
  verified(bytes: number): void {
    this.#blobs++
    this.#bytes += bytes
  }

  quarantined(): void {
    this.#quarantined++
  }

  totals(): { readonly blobs: number; readonly bytes: number; readonly quarantined: number } {
    return { blobs: this.#blobs, bytes: this.#bytes, quarantined: this.#quarantined }
  }
}
