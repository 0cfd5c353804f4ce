import { readdirSync, readFileSync } from 'node:fs'

const sampleEveryMs = 100

export interface Memory {
  readonly beforeMiB: number
  /** The most that a sample every 100 ms met. */
  readonly peakMiB: number
}

/**
 * What a server and its descendants have resident while `work` runs (Linux only). The
 * database is left out: its shared buffers fill up with use, whatever the server does.
 */
export async function measureMemory(pid: number, work: () => Promise<void>): Promise<Memory> {
  const beforeMiB = residentMiB(pid)
  let peakMiB = beforeMiB
  const sampling = setInterval(() => {
    peakMiB = Math.max(peakMiB, residentMiB(pid))
  }, sampleEveryMs)
  try {
    await work()
  } finally {
    clearInterval(sampling)
  }
  return { beforeMiB, peakMiB }
}

function residentMiB(pid: number): number {
  const status = read(`/proc/${pid}/status`)
  if (/^Name:\s+postgres$/m.test(status)) return 0
  const kibibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0)
  return childrenOf(pid).reduce((sum, child) => sum + residentMiB(child), kibibytes / 1024)
}

function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  )
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return [] // it has ended
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // its process has ended
  }
}
