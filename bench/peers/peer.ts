import type { Server } from '../client/server.ts'

/** One registry under measurement, listening on loopback with a directory of its own. */
export interface Peer extends Server {
  /** The processes whose trees make up the server. */
  readonly roots: readonly number[]
  /** Ends the server and all it started; its directory is left to the caller. */
  stop(this: void): Promise<void>
}

export interface PeerSettings {
  /** An empty directory for configuration, data and logs. */
  readonly directory: string
  readonly setup: Setup
  /** Where a server written for Node leaves CPU profiles when it ends. */
  readonly profileDirectory: string | undefined
  /** Of a registry that it pulls through. */
  readonly upstreamUrl?: string | undefined
}

/** How a registry is installed, as far as it knows of such. */
export interface Setup {
  /** `token`: whoever asks has to show one. */
  readonly auth: 'none' | 'token'
  /** `external`: the same binaries, started for themselves. */
  readonly database: 'embedded' | 'external'
  readonly storage: 'filesystem' | S3Place
  /** Processes that share the listening socket. */
  readonly workers: number
}

/** As it is with nothing said. */
export const plainSetup: Setup = {
  auth: 'none',
  database: 'embedded',
  storage: 'filesystem',
  workers: 1,
}

/** A bucket, of which each server that is started gets a part of its own. */
export interface S3Place {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A registry that can be started any number of times. */
export interface PeerKind {
  readonly name: string
  /** What comes before the names of its upstream's repositories: `upstream/`, or nothing. */
  readonly upstreamPrefix: string
  /** @throws Error when it is not installed */
  version(this: void): Promise<string>
  /** Resolves when the server answers requests. */
  start(this: void, settings: PeerSettings): Promise<Peer>
}
