import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultPoint } from '../registry/registry.ts'
import { type ServerProcess, startCrashingServer } from '../test/durability/support/server.ts'
import type { Random } from './random.ts'
import type { Report } from './report.ts'
import type { Settings, Stage } from './stage.ts'

/** Where servers are told to die: all steps of pushes, and all of the collector. */
const PUSH_POINTS: readonly FaultPoint[] = [
  'upload received',
  'upload saved',
  'blob locked',
  'blob placed',
  'blob committed',
  'manifest locked',
  'manifest committed',
]
const COLLECTOR_POINTS: readonly FaultPoint[] = [
  'garbage claimed',
  'manifest reviewed',
  'manifest collected',
  'blob reviewed',
  'blob unlinked',
  'blob bytes deleted',
  'blob removed',
]

/** One is told to die so often, on average; restarts take a second or two of a core each. */
const DEATH_MS = 3500
/** How long a server has to come to the step where it is to die. */
const STEP_MS = 4000
/** A socket may break a moment before the end of the process is known. */
const DEATH_KNOWN_MS = 5000
const NEVER = 2 ** 40
/** One is stopped in the middle of whatever it does so often, on average. */
const PAUSE_MS = 1500
/** Mostly for a moment; now and then for longer than what it knows of the others is good for. */
const PAUSES_MS = [50, 100, 200, 400, 400, 6000] as const

export interface Replica {
  /** From 1, and how often it was started. */
  readonly name: string
  readonly server: ServerProcess
}

/** Servers that die and come back, on one database and one storage. */
export class Fleet {
  readonly #stage: Stage
  readonly #report: Report
  readonly #random: Random
  readonly #settings: Settings
  readonly #running: (Replica | undefined)[]
  readonly #upkeep: Promise<void>[] = []
  #starts = 0
  #isClosing = false
  #isCalm = true
  #failure: Error | undefined
  /** By server, the step where it was told to die. */
  readonly #orders = new WeakMap<ServerProcess, FaultPoint>()

  constructor(stage: Stage, report: Report, random: Random, settings: Settings) {
    this.#stage = stage
    this.#report = report
    this.#random = random
    this.#settings = settings
    this.#running = []
  }

  async start(count: number): Promise<void> {
    for (let number = 0; number < count; number++) {
      this.#running.push(undefined)
      this.#upkeep.push(
        this.#keepUp(number).catch((error: Error) => {
          this.#failure = error
        }),
      )
    }
    await this.allUp()
  }

  /** Any that runs; undefined when all are dead. */
  pick(random: Random): Replica | undefined {
    const running = this.replicas()
    return running.length === 0 ? undefined : random.one(running)
  }

  replicas(): Replica[] {
    return this.#running.filter((replica) => replica !== undefined)
  }

  /** Resolves when every replica takes requests. @throws what keeps one from starting */
  allUp(): Promise<void> {
    return this.#areUp(this.#running.length)
  }

  someUp(): Promise<void> {
    return this.#areUp(1)
  }

  async #areUp(count: number): Promise<void> {
    while (this.replicas().length < count) {
      if (this.#failure !== undefined) throw this.#failure
      await sleep(20)
    }
  }

  /** Whether the server that broke off an exchange has died, which excuses it. */
  async hasDied({ server }: Replica): Promise<boolean> {
    const known = sleep(DEATH_KNOWN_MS, false, { ref: false })
    return Promise.race([server.exited.then(() => true), known])
  }

  /** Kills servers, at once or where they are told to, until the signal aborts. */
  async disturb(signal: AbortSignal): Promise<void> {
    this.#isCalm = false
    while (!signal.aborted) {
      await sleep(this.#random.next() * 2 * DEATH_MS, undefined, { signal }).catch(() => {})
      const isWhole = this.replicas().length === this.#running.length
      // Mostly somebody is left to be asked, however long a start takes.
      const replica = isWhole || this.#random.chance(0.1) ? this.pick(this.#random) : undefined
      if (signal.aborted || replica === undefined) continue
      if (this.#random.chance(0.65)) {
        await this.#arm(replica)
        const come = sleep(STEP_MS, undefined, { signal }).catch(() => {})
        await Promise.race([replica.server.exited, come])
      }
      // One that did not come to its step dies all the same, wherever it is.
      if (!signal.aborted && !replica.server.hasExited()) this.#kill(replica)
    }
    await this.#disarm()
  }

  /** Stops servers for a while and lets them go on, until the signal aborts. */
  async interrupt(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#random.next() * 2 * PAUSE_MS, undefined, { signal }).catch(() => {})
      const replica = this.pick(this.#random)
      if (signal.aborted || replica === undefined) continue
      const { name, server } = replica
      const longest = this.#random.one(PAUSES_MS)
      this.#report.journal.note(`* replica ${name} is paused`)
      this.#report.figures.pauses++
      server.signal('SIGSTOP')
      await sleep(this.#random.next() * longest, undefined, { signal }).catch(() => {})
      server.signal('SIGCONT')
      this.#report.journal.note(`* replica ${name} goes on`)
    }
  }

  /** Ends all, as an operator does. */
  async stop(): Promise<void> {
    this.#isClosing = true
    await Promise.all(
      this.replicas().map(async ({ name, server }) => {
        const { code, signal } = await server.stop()
        if (code !== 0) this.#report.violation(`replica ${name} ended by ${code ?? signal}`)
      }),
    )
    await Promise.all(this.#upkeep)
  }

  #kill({ name, server }: Replica): void {
    this.#report.journal.note(`* SIGKILL replica ${name}`)
    this.#report.figures.kills++
    this.#orders.delete(server)
    server.signal('SIGKILL')
  }

  async #arm({ name, server }: Replica): Promise<void> {
    const points = this.#random.chance(0.6) ? COLLECTOR_POINTS : PUSH_POINTS
    const step = this.#random.one(points)
    const nth = this.#random.from(1, points === PUSH_POINTS ? 4 : 2)
    this.#report.journal.note(`* replica ${name} is to die at '${step}', time ${nth}`)
    this.#orders.set(server, step)
    await server.crashAt({ step, nth, withDatabase: false })
  }

  /** Those that still run by then live on. */
  async #disarm(): Promise<void> {
    for (const { server } of this.replicas()) {
      await server.crashAt({ step: 'upload received', nth: NEVER, withDatabase: false })
    }
    await this.allUp()
    this.#isCalm = true
  }

  async #keepUp(number: number): Promise<void> {
    while (!this.#isClosing) {
      const name = `${number + 1}.${++this.#starts}`
      const server = await startCrashingServer(this.#stage.workspace, {
        settings: { ...this.#stage.settingsOf(number), ...this.#settings },
        environment: this.#stage.environment,
      })
      this.#report.journal.note(`* replica ${name} serves at ${server.host}`)
      this.#running[number] = { name, server }
      const { code } = await server.exited
      this.#running[number] = undefined
      this.#report.journal.note(`* replica ${name} is gone`)
      if (this.#isClosing) return
      this.#count(name, server, code)
      await sleep(this.#random.next() * 500)
    }
  }

  #count(name: string, server: ServerProcess, code: number | null): void {
    const step = this.#orders.get(server)
    // Those that are killed have no code.
    if (code !== null || this.#isCalm) {
      this.#report.violation(`replica ${name} ended by itself (${code})`)
    } else if (step !== undefined) {
      const { faults } = this.#report.figures
      faults[step] = (faults[step] ?? 0) + 1
    }
  }
}
