import type { Calls, Count } from './calls.ts'
import type { DatabaseWork } from './database.ts'
import type { Inside } from './inside.ts'
import type { Idle } from './measure.ts'
import type { CpuTime, CpuTimes } from './processes.ts'

/** What was counted over one pass. */
export interface Totals {
  readonly slipway: Calls
  readonly postgres: Calls
  readonly inside: Inside
  readonly database: DatabaseWork
  /** In microseconds. */
  readonly cpu: CpuTimes
}

/** The same for one request. */
export type Budget = Totals

export interface Division {
  readonly parts: number
  /** Lengths of the passes, in seconds. */
  readonly counted: number
  readonly traced: number
  readonly idle: Idle
}

/** Takes away what the server would have done without requests, and divides the rest. */
export function perTime(totals: Totals, { parts, counted, traced, idle }: Division): Budget {
  const busy = (total: number, idleTotal: number) =>
    Math.max(0, total - (idleTotal * counted) / idle.counted.seconds) / parts
  const callsOf = (calls: Calls, idleCalls: Calls) =>
    dividedCalls(calls, idleCalls, { parts, share: traced / idle.traced.seconds })
  const cpuOf = (time: CpuTime, idleTime: CpuTime): CpuTime => ({
    user: busy(time.user, idleTime.user),
    system: busy(time.system, idleTime.system),
  })
  const { inside, database, cpu } = totals
  const { inside: idleInside, database: idleDatabase, cpu: idleCpu } = idle.counted
  return {
    slipway: callsOf(totals.slipway, idle.traced.slipway),
    postgres: callsOf(totals.postgres, idle.traced.postgres),
    inside: {
      heapBytes: busy(inside.heapBytes, idleInside.heapBytes),
      externalBytes: busy(inside.externalBytes, idleInside.externalBytes),
      scavenges: inside.scavenges,
      otherCollections: inside.otherCollections,
      statements: new Map(
        [...inside.statements].map(([name, calls]) => [
          name,
          busy(calls, idleInside.statements.get(name) ?? 0),
        ]),
      ),
    },
    database: {
      statements: busy(database.statements, idleDatabase.statements),
      walBytes: busy(database.walBytes, idleDatabase.walBytes),
      walPageBytes: busy(database.walPageBytes, idleDatabase.walPageBytes),
    },
    cpu: {
      slipway: cpuOf(cpu.slipway, idleCpu.slipway),
      postgres: cpuOf(cpu.postgres, idleCpu.postgres),
    },
  }
}

function dividedCalls(
  { counts, roundTrips }: Calls,
  idle: Calls,
  { parts, share }: { readonly parts: number; readonly share: number },
): Calls {
  const busy = (total: number, idleTotal: number) => Math.max(0, total - idleTotal * share) / parts
  const divided = [...counts].map(([key, { calls, bytes }]): [string, Count] => {
    const quiet = idle.counts.get(key)
    return [key, { calls: busy(calls, quiet?.calls ?? 0), bytes: busy(bytes, quiet?.bytes ?? 0) }]
  })
  return { counts: new Map(divided), roundTrips: busy(roundTrips, idle.roundTrips) }
}
