import { readFileSync } from 'node:fs'
import { processTree } from '../measure/process-tree.ts'

/** USER_HZ: what /proc/<pid>/stat counts in. */
const TICKS_PER_SECOND = 100

export interface Processes {
  readonly slipway: readonly number[]
  readonly postgres: readonly number[]
}

/** In microseconds. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

export interface CpuTimes {
  readonly slipway: CpuTime
  readonly postgres: CpuTime
}

/** The living processes of a server. */
export function processesOf(roots: readonly number[]): Processes {
  const all = [...processTree(roots)].filter((pid) => commandOf(pid) !== '')
  return {
    slipway: all.filter((pid) => commandOf(pid) !== 'postgres'),
    postgres: all.filter((pid) => commandOf(pid) === 'postgres'),
  }
}

/** Of the living; of Postgres also what its postmaster had of backends that ended. */
export function readCpuTimes(roots: readonly number[]): CpuTimes {
  const { slipway, postgres } = processesOf(roots)
  return {
    // utime and stime, cutime and cstime
    slipway: sum(slipway, (fields) => fields.slice(11, 13)),
    postgres: sum(postgres, (fields) => {
      const [user, system, userOfDead, systemOfDead] = fields.slice(11, 15).map(Number)
      return [(user ?? 0) + (userOfDead ?? 0), (system ?? 0) + (systemOfDead ?? 0)]
    }),
  }
}

export function cpuBetween(before: CpuTimes, after: CpuTimes): CpuTimes {
  const difference = (of: (times: CpuTimes) => CpuTime): CpuTime => ({
    user: of(after).user - of(before).user,
    system: of(after).system - of(before).system,
  })
  return {
    slipway: difference(({ slipway }) => slipway),
    postgres: difference(({ postgres }) => postgres),
  }
}

/** @param of user and system ticks among the fields behind the command's name */
function sum(pids: readonly number[], of: (fields: readonly string[]) => unknown[]): CpuTime {
  const microseconds = 1e6 / TICKS_PER_SECOND
  let [user, system] = [0, 0]
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`)
    // The command name may hold spaces; the fields are counted from behind its parenthesis.
    const [userTicks = 0, systemTicks = 0] = of(stat.slice(stat.lastIndexOf(')') + 2).split(' '))
    user += Number(userTicks) * microseconds
    system += Number(systemTicks) * microseconds
  }
  return { user, system }
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/comm`).trim()
}

/** '' when the process has ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
