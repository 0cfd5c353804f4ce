import type { PushedImage } from '../cases/pushed-images.ts'
import type { Connection } from '../client/connection.ts'
import type { Server } from '../client/server.ts'

/** What the server has and who asks. */
export interface Site {
  readonly server: Server
  readonly images: readonly PushedImage[]
}

/** One kind of request, or of requests that belong together. */
export interface HotPath {
  /** For `--only`. */
  readonly name: string
  readonly what: string
  /** Times it is done in one count. */
  readonly times: number
  /** Figures are for so much of it: one, or one MiB of one. */
  readonly perTime?: number
  /** Only where requests show a token. */
  readonly needsAuth?: boolean
  /** Requests show only what they name themselves. */
  readonly plain?: boolean
  /** Has a connection of its own, and is done one after the other. */
  readonly isAlone?: boolean
  /** Makes ready to do it `times` times, which is not counted. */
  prepare(this: void, site: Site, times: number): Promise<Work>
}

export interface Work {
  /** Does it for the `index`th time, from 0. @throws Error when an answer is not the expected one */
  once(this: void, connection: Connection, index: number): Promise<unknown>
  close?(this: void): void
}
