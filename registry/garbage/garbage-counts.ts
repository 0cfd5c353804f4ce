import type { Freed } from '../../storage/metadata/garbage.ts'
import { add } from './collect.ts'

/** What this process has collected since it began. */
export class GarbageCounts {
  #totals: Freed = { manifests: 0, blobs: 0, bytes: 0 }

  collected(freed: Freed): void {
    this.#totals = add(this.#totals, freed)
  }

  totals(): Freed {
    return this.#totals
  }
}
