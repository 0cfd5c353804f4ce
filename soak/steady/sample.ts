/** `warm-up` and `load`: clients are at work. `start` and `rest`: nobody asks for anything. */
export type Phase = 'start' | 'warm-up' | 'load' | 'rest'

/**
 * What the server and its database hold at one moment; a line of the file that `--out` names.
 * Numbers of all processes of the server are added up, unless it says otherwise.
 */
export interface Sample {
  /** Seconds since the server was ready. */
  readonly at: number
  readonly phase: Phase
  /** That clients had made by then. */
  readonly requests: number
  /** Of the server and its database, since they began. */
  readonly cpuSeconds: number
  readonly rssBytes: number
  readonly heapUsedBytes: number
  readonly heapTotalBytes: number
  /** What V8 counts besides its heap, buffers above all. */
  readonly externalBytes: number
  readonly activeHandles: number
  readonly activeResources: number
  /** Of the process that has the largest, since the sample before. */
  readonly eventLoopP99Seconds: number
  /** Descriptors that the server has open. */
  readonly descriptors: number
  /** Of these, connections of the pool to the database. */
  readonly poolConnections: number
  /** And of these, connections to the object storage; 0 where there is none. */
  readonly storageConnections: number
  readonly uploadsInProgress: number
  readonly postgresPssBytes: number
  readonly postgresDescriptors: number
  /** Processes that serve connections. */
  readonly backends: number
  readonly databaseBytes: number
  /** Upload sessions that the database knows. */
  readonly sessions: number
  /** Files of blobs and uploads; 0 where they are in a bucket. */
  readonly storedFiles: number
  readonly storedBytes: number
  /** Heap that is in use right after a collection of garbage; at the end of a rest only. */
  readonly liveHeapBytes?: number
  /** The same of what V8 counts besides. */
  readonly liveExternalBytes?: number
}

/** Taken at the end of a rest, when what nobody needs had been collected. */
export type Rest = Sample & Required<Pick<Sample, 'liveHeapBytes' | 'liveExternalBytes'>>

export function isRest(sample: Sample): sample is Rest {
  return sample.liveHeapBytes !== undefined && sample.liveExternalBytes !== undefined
}
