/** What each part costs in CPU time, and how busy the machine is; from /proc (Linux only). */
import { readFileSync } from 'node:fs'
import { readCpuSeconds } from '../measure/process-tree.ts'

/** Something of each part of an installation. */
export interface Parts<T> {
  readonly replicas: T
  readonly nginx: T
  readonly s3: T
  readonly postgres: T
}

export interface Cost<T> {
  readonly result: T
  readonly cpuSeconds: Parts<number>
  /** Part of the machine's CPU time that was used, by whomever; at most 1. */
  readonly busy: number
}

/** Runs `work` and says what the trees of processes under `parts` used meanwhile. */
export async function measureCost<T>(
  parts: Parts<readonly number[]>,
  work: () => Promise<T>,
): Promise<Cost<T>> {
  const before = mapParts(parts, readCpuSeconds)
  const machineBefore = readMachine()
  const result = await work()
  const machine = readMachine()
  const after = mapParts(parts, readCpuSeconds)
  return {
    result,
    cpuSeconds: mapParts(after, (seconds, part) => seconds - before[part]),
    busy: 1 - (machine.idle - machineBefore.idle) / (machine.all - machineBefore.all),
  }
}

export function mapParts<T, R>(
  parts: Parts<T>,
  of: (value: T, part: keyof Parts<T>) => R,
): Parts<R> {
  return {
    replicas: of(parts.replicas, 'replicas'),
    nginx: of(parts.nginx, 'nginx'),
    s3: of(parts.s3, 's3'),
    postgres: of(parts.postgres, 'postgres'),
  }
}

/** Ticks of all cores since boot. */
function readMachine(): { all: number; idle: number } {
  const [first = ''] = read('/proc/stat').split('\n')
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user too
  const ticks = first.trim().split(/ +/).slice(1, 9).map(Number)
  const [, , , idle = 0, waiting = 0] = ticks
  return { all: ticks.reduce((sum, each) => sum + each, 0), idle: idle + waiting }
}

/** The text of a file in /proc, empty when its process has ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
