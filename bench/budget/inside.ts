import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const HOOK = fileURLToPath(new URL('inside.mjs', import.meta.url))
const POLL_MS = 20
const PATIENCE_MS = 20_000

/** What processes of Slipway counted in themselves. */
export interface Inside {
  /** Of objects, by the collections of garbage. */
  readonly heapBytes: number
  /** Of buffers and the like, at least: what is freed between two collections is not seen. */
  readonly externalBytes: number
  readonly scavenges: number
  readonly otherCollections: number
  /** Sent to the database, by name, or by the beginning of the text. */
  readonly statements: ReadonlyMap<string, number>
}

interface Report extends Omit<Inside, 'statements'> {
  readonly statements: readonly (readonly [string, number])[]
}

/** Has servers count that are started during `start`. */
export async function withHook<T>(
  folder: string,
  profiles: string | undefined,
  start: () => Promise<T>,
): Promise<T> {
  const { env } = process
  const { NODE_OPTIONS } = env
  env['NODE_OPTIONS'] = `${NODE_OPTIONS ?? ''} --import ${HOOK}`
  env['BUDGET_FOLDER'] = folder
  if (profiles !== undefined) env['BUDGET_PROFILES'] = profiles
  try {
    return await start()
  } finally {
    if (NODE_OPTIONS === undefined) delete env['NODE_OPTIONS']
    else env['NODE_OPTIONS'] = NODE_OPTIONS
  }
}

/** Counting in some processes of a server, again and again. */
export class InsideCounter {
  readonly #folder: string
  readonly #pids: readonly number[]
  #turn = 0

  constructor(folder: string, pids: readonly number[]) {
    this.#folder = folder
    this.#pids = pids
  }

  async begin(): Promise<void> {
    await this.#signal()
  }

  /** The sum over all processes. */
  async end(): Promise<Inside> {
    const reports = await this.#signal()
    const sum = (of: (report: Report) => number) =>
      reports.reduce((total, report) => total + of(report), 0)
    const statements = new Map<string, number>()
    for (const [name, calls] of reports.flatMap((report) => report.statements)) {
      statements.set(name, (statements.get(name) ?? 0) + calls)
    }
    return {
      heapBytes: sum(({ heapBytes }) => heapBytes),
      externalBytes: sum(({ externalBytes }) => externalBytes),
      scavenges: sum(({ scavenges }) => scavenges),
      otherCollections: sum(({ otherCollections }) => otherCollections),
      statements,
    }
  }

  async #signal(): Promise<Report[]> {
    this.#turn++
    for (const pid of this.#pids) process.kill(pid, 'SIGUSR2')
    return Promise.all(this.#pids.map((pid) => this.#report(pid)))
  }

  async #report(pid: number): Promise<Report> {
    const file = path.join(this.#folder, `${pid}-${this.#turn}.json`)
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
      const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
      if (text !== '') return JSON.parse(text) as Report
      await sleep(POLL_MS)
    }
    throw new Error(`process ${pid} does not count`)
  }
}
