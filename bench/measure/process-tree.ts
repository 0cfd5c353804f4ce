/**
 * What a server and all its descendants cost, read from /proc (Linux only).
 *
 * Memory of a process is its RSS, except for Postgres: its backends map the same shared
 * buffers, so each of them counts with its PSS and the buffers are counted once. Other
 * processes do not count with PSS, because the node binary that the driver maps as well
 * would then make a server written in Node look smaller than it is.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** USER_HZ: what /proc/<pid>/stat counts in, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

const sampleEveryMs = 50

export interface Memory {
  readonly serverKiB: number
  readonly postgresKiB: number
}

export interface Usage {
  readonly cpuSeconds: number
  /** The largest sum over the tree that a sample every 50 ms met. */
  readonly peakMemoryKiB: number
}

export interface Measured<T> {
  readonly result: T
  readonly usage: Usage
}

/** Runs `work` and says what the trees under `roots` used meanwhile. */
export async function measure<T>(
  roots: readonly number[],
  work: () => Promise<T>,
): Promise<Measured<T>> {
  const running = { is: true }
  const before = readCpuSeconds(roots)
  const peak = samplePeak(roots, running)
  try {
    const result = await work()
    const cpuSeconds = readCpuSeconds(roots) - before
    running.is = false
    return { result, usage: { cpuSeconds, peakMemoryKiB: await peak } }
  } finally {
    running.is = false
  }
}

export function readMemory(roots: readonly number[]): Memory {
  let serverKiB = 0
  let postgresKiB = 0
  for (const pid of processTree(roots)) {
    if (read(`/proc/${pid}/comm`)?.trim() === 'postgres') {
      postgresKiB += kibibytes(read(`/proc/${pid}/smaps_rollup`), 'Pss')
    } else {
      serverKiB += kibibytes(read(`/proc/${pid}/status`), 'VmRSS')
    }
  }
  return { serverKiB, postgresKiB }
}

/** CPU time of all living processes and of the dead ones their parents have waited for. */
export function readCpuSeconds(roots: readonly number[]): number {
  let ticks = 0
  for (const pid of processTree(roots)) {
    const stat = read(`/proc/${pid}/stat`)
    if (stat === undefined) continue
    // The command name may hold spaces; the fields are counted from behind its parenthesis.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // utime, stime, cutime, cstime
    for (const field of fields.slice(11, 15)) ticks += Number(field)
  }
  return ticks / ticksPerSecond
}

/** `roots` and all their descendants that live now. */
export function processTree(roots: readonly number[]): ReadonlySet<number> {
  const found = new Set<number>()
  const queue = [...roots]
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    if (found.has(pid)) continue
    found.add(pid)
    queue.push(...childrenOf(pid))
  }
  return found
}

async function samplePeak(roots: readonly number[], running: { is: boolean }): Promise<number> {
  let peak = 0
  while (running.is) {
    const { serverKiB, postgresKiB } = readMemory(roots)
    peak = Math.max(peak, serverKiB + postgresKiB)
    await sleep(sampleEveryMs)
  }
  return peak
}

function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    (read(`/proc/${pid}/task/${thread}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  )
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return [] // it has ended
  }
}

/** The text of a file in /proc, undefined when its process has ended. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function kibibytes(text: string | undefined, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text ?? '')?.[1] ?? 0)
}
