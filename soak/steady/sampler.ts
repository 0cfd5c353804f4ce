import { appendFileSync, writeFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readCpuSeconds, readMemory } from '../../bench/measure/process-tree.ts'
import type { Pool } from '../../storage/metadata/database.ts'
import type { Workspace } from '../../test/durability/support/workspace.ts'
import { openDatabase, readDatabase } from './database.ts'
import { Inspector } from './inspector.ts'
import { pause } from './pace.ts'
import {
  areAlive,
  backendsOf,
  connectionsTo,
  descriptorsOf,
  inspectPortOf,
  ownProcesses,
} from './processes.ts'
import type { Report } from './report.ts'
import type { Phase, Rest, Sample } from './sample.ts'
import { Scrape, type Series } from './scrape.ts'
import type { Server } from './server.ts'
import { lineOf } from './table.ts'

const EVERY_MS = 2000
const TELL_SECONDS = 60

interface Parts {
  readonly workspace: Workspace
  readonly server: Server
  readonly report: Report
  /** A file for the samples. */
  readonly out: string | undefined
}

/** Looks at a server from outside, now and then. */
export class Sampler {
  readonly samples: Sample[] = []
  readonly #parts: Parts
  readonly #scrape: Scrape
  readonly #database: Pool
  readonly #inspectors: readonly Inspector[]
  readonly #started = performance.now()
  #toldAt = 0

  private constructor(parts: Parts, scrape: Scrape, database: Pool, inspectors: Inspector[]) {
    this.#parts = parts
    this.#scrape = scrape
    this.#database = database
    this.#inspectors = inspectors
  }

  /** All that it needs of the server is opened here, once: what it costs is there from the start. */
  static async open(parts: Parts): Promise<Sampler> {
    const { server, workspace, out } = parts
    const inspectors: Inspector[] = []
    for (const pid of server.pids.serving) {
      inspectors.push(await Inspector.open(pid, inspectPortOf(pid) ?? server.inspectPort))
    }
    const scrape = await Scrape.open(server)
    if (out !== undefined) writeFileSync(out, '')
    return new Sampler(parts, scrape, await openDatabase(workspace), inspectors)
  }

  /** Takes samples until told to end. @throws Error when a process of the server is gone */
  async follow(phase: Phase, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const sample = await this.#look(phase)
      this.#keep(sample)
      this.#tell(sample)
      await pause(EVERY_MS, signal)
    }
  }

  /** Lets what nobody needs be collected first. */
  async rest(phase: 'start' | 'rest'): Promise<Rest> {
    const live = []
    for (const inspector of this.#inspectors) live.push(await inspector.liveMemory())
    // Pages are given back in the background.
    await sleep(1000)
    const sample = {
      ...(await this.#look(phase)),
      liveHeapBytes: sumOf(live, ({ heapUsed }) => heapUsed),
      liveExternalBytes: sumOf(live, ({ external }) => external),
    }
    this.#keep(sample)
    return sample
  }

  close(): void {
    this.#scrape.close()
  }

  #tell(sample: Sample): void {
    if (sample.at - this.#toldAt < TELL_SECONDS) return
    this.#toldAt = sample.at
    console.log(lineOf(sample))
  }

  #keep(sample: Sample): void {
    this.samples.push(sample)
    const { out } = this.#parts
    if (out !== undefined) appendFileSync(out, `${JSON.stringify(sample)}\n`)
  }

  async #look(phase: Phase): Promise<Sample> {
    const { server, report, workspace } = this.#parts
    const { pids, storagePort } = server
    const problem = server.ended() ?? (areAlive(pids) ? undefined : 'a worker died')
    if (problem !== undefined) throw new Error(problem)
    const [series, database, stored] = await Promise.all([
      this.#scrape.read(),
      readDatabase(this.#database),
      measureFolder(workspace.storage),
    ])
    const { serverKiB, postgresKiB } = readMemory([pids.root])
    const backends = backendsOf(pids)
    return {
      at: Number(((performance.now() - this.#started) / 1000).toFixed(2)),
      phase,
      requests: report.requests,
      cpuSeconds: readCpuSeconds([pids.root]),
      rssBytes: serverKiB * 1024,
      ...processFigures(series),
      descriptors: descriptorsOf(ownProcesses(pids)),
      storageConnections: storagePort === undefined ? 0 : connectionsTo(storagePort, pids.serving),
      postgresPssBytes: postgresKiB * 1024,
      postgresDescriptors: descriptorsOf(backends),
      backends: backends.length,
      ...database,
      ...stored,
    }
  }
}

function processFigures(processes: readonly Series[]) {
  const total = (name: string) => sumOf(processes, (series) => series.get(name) ?? Number.NaN)
  const delays = processes.map((series) => series.get('nodejs_eventloop_lag_p99_seconds') ?? 0)
  return {
    heapUsedBytes: total('nodejs_heap_size_used_bytes'),
    heapTotalBytes: total('nodejs_heap_size_total_bytes'),
    externalBytes: total('nodejs_external_memory_bytes'),
    activeHandles: total('nodejs_active_handles_total'),
    activeResources: total('nodejs_active_resources_total'),
    eventLoopP99Seconds: Math.max(...delays),
    poolConnections: total('slipway_database_connections'),
    uploadsInProgress: total('slipway_uploads_in_progress'),
  }
}

/** Files come and go meanwhile, and folders too. */
async function measureFolder(folder: string): Promise<Pick<Sample, 'storedFiles' | 'storedBytes'>> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const parts = await Promise.all(
    entries.map(async (entry) => {
      const file = path.join(folder, entry.name)
      if (entry.isDirectory()) return measureFolder(file)
      const found = await stat(file).catch(() => undefined)
      return { storedFiles: found ? 1 : 0, storedBytes: found?.size ?? 0 }
    }),
  )
  return {
    storedFiles: sumOf(parts, ({ storedFiles }) => storedFiles),
    storedBytes: sumOf(parts, ({ storedBytes }) => storedBytes),
  }
}

function sumOf<T>(list: readonly T[], value: (each: T) => number): number {
  return list.reduce((sum, each) => sum + value(each), 0)
}
