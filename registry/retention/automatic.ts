import { findLastPlan } from '../../storage/metadata/retention-runs.ts'
import type { Registry } from '../registry.ts'
import { RetentionRefused, runWhenDue } from './run.ts'

/** Who runs that nobody asked for are in the history of tags, and in the audit trail. */
const SYSTEM_ACTOR = 'system:retention'

/** Time to look at a plan, and to think again, before it lets tags go by themselves. */
const PLAN_SECONDS = 3600

export interface AutomaticOptions {
  /** From the end of a run to the next; 0: never. */
  readonly everySeconds: number
  /** 3600 */
  readonly planSeconds?: number
}

/** Runs that nobody asks for. They do what somebody was shown an hour ago or before, and no more. */
export class AutomaticRetention {
  readonly #registry: Registry
  readonly #options: AutomaticOptions
  #isTold = false

  constructor(registry: Registry, options: AutomaticOptions) {
    this.#registry = registry
    this.#options = options
  }

  /** Runs if it is time. To be called now and then, in each process. */
  async tend(signal?: AbortSignal): Promise<void> {
    const { log, retention } = this.#registry
    const { everySeconds, planSeconds = PLAN_SECONDS } = this.#options
    if (everySeconds === 0 || !retention.rules.deletes) return
    if (!(await this.#isPlanned(planSeconds))) return
    try {
      const run = await runWhenDue(this.#registry, {
        actor: { subject: SYSTEM_ACTOR },
        planSeconds,
        everySeconds,
        ...(signal && { signal }),
      })
      if (run === undefined) return
      log.info({ run: run.id, tags: run.deleted, bytes: run.bytes }, 'retention has run')
    } catch (error) {
      if (!(error instanceof RetentionRefused)) throw error
      const hint = 'slipway retention plan shows what it would do, and allows it'
      log.warn({ wouldDelete: error.wouldDelete, reason: error.message, hint }, 'retention stopped')
    }
  }

  async #isPlanned(planSeconds: number): Promise<boolean> {
    const { db, log, retention } = this.#registry
    const rules = retention.rules.fingerprint
    const wanted = { rules, glob: undefined, olderThanSeconds: planSeconds }
    if ((await findLastPlan(db, wanted)) !== undefined) return true
    if (!this.#isTold) {
      this.#isTold = true
      log.warn(
        `the rules of retention delete nothing until slipway retention plan has shown what they would, ${planSeconds / 60} minutes before`,
      )
    }
    return false
  }
}
