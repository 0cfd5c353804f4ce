import {
  type Content,
  contentOf,
  type Image,
  imageOf,
} from '../../test/durability/support/pushes.ts'
import type { Random } from '../random.ts'

/** Bytes of layers, from and to, with how many chances in a hundred. */
const SIZES = [
  [40, [100, 4096]],
  [40, [4097, 2 ** 18]],
  [16, [2 ** 18 + 1, 2 ** 20]],
  [4, [2 ** 20 + 1, 2 ** 23]],
] as const

const LARGE_BYTES = 2 ** 23
const SHARED_LAYERS = 12

/** What is remembered of an image that was pushed: its bytes are the server's to keep. */
export interface Pushed {
  readonly digest: string
  /** Config and layers. */
  readonly blobs: readonly { readonly digest: string; readonly bytes: number }[]
}

/** Makes images as builds do: something new on layers that others have too. */
export class Builder {
  readonly large: Content
  readonly #seed: number
  readonly #shared: readonly Content[]
  #built = 0

  constructor(seed: number) {
    this.#seed = seed
    this.large = contentOf(`${seed} large`, LARGE_BYTES)
    this.#shared = Array.from({ length: SHARED_LAYERS }, (_, number) =>
      contentOf(`${seed} shared ${number}`, 2 ** (8 + number)),
    )
  }

  image(random: Random): Image {
    const name = `${this.#seed} image ${this.#built++}`
    const own = Array.from({ length: random.from(1, 3) }, (_, number) => {
      const [least, most] = random.weighted(SIZES)
      return contentOf(`${name} layer ${number}`, random.from(least, most))
    })
    const shared = random.some(this.#shared, random.from(0, 3))
    const config = contentOf(`${name} config`, random.from(300, 3000))
    return imageOf(config, [...shared, ...own], { 'org.opencontainers.image.title': name })
  }

  /** For who reads slowly: nothing fits in the buffers between. */
  largeImage(): Image {
    return imageOf(contentOf(`${this.#seed} config`, 500), [this.large])
  }
}

export function pushedOf({ manifest, config, layers }: Image): Pushed {
  return {
    digest: manifest.digest,
    blobs: [config, ...layers].map(sized),
  }
}

function sized({ digest, bytes }: Content) {
  return { digest, bytes: bytes.length }
}
