/** One registry under measurement, listening on loopback with a directory of its own. */
export interface Peer {
  readonly port: number
  /** The processes whose trees make up the server. */
  readonly roots: readonly number[]
  /** Ends the server and all it started; its directory is left to the caller. */
  stop(this: void): Promise<void>
}

export interface PeerSettings {
  /** An empty directory for configuration, data and logs. */
  readonly directory: string
  /** Processes that share the listening socket, where the server knows of such. */
  readonly workers: number
  /** Where a server written for Node leaves CPU profiles when it ends. */
  readonly profileDirectory: string | undefined
  /** Of a registry that it pulls through. */
  readonly upstreamUrl?: string | undefined
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
