import { Router } from '@koa/router'
import type { Metrics } from '../../observability/metrics.ts'
import { asRegistryError } from '../../registry/failures.ts'
import { answerBytes, answerJson } from '../http/answer.ts'
import type { RequestState } from '../state.ts'

/** Each resolves when its part works, and throws what is wrong otherwise. */
export interface HealthChecks {
  readonly database: () => Promise<void>
  readonly storage: () => Promise<void>
}

const CHECK_MS = 5000

/** For whoever runs the server: no access is needed, and nothing of what is stored is shown. */
export function operationRoutes(health: HealthChecks, metrics: Metrics): Router<RequestState> {
  const checks = { database: shared(health.database), storage: shared(health.storage) }
  const router = new Router<RequestState>({ sensitive: true })

  /** The process answers. */
  router.get('/healthz', (ctx) => {
    ctx.state.route = 'healthz'
    answerJson(ctx, { status: 'ok' })
  })

  /** Requests can be served: both the database and the storage were just tried. A full storage still serves pulls. */
  router.get('/readyz', async (ctx) => {
    ctx.state.route = 'readyz'
    const [database, storage] = await Promise.all([state(checks.database), state(checks.storage)])
    const ready = database === 'ok' && storage !== 'failing'
    const answer = { status: ready ? 'ok' : 'unavailable', checks: { database, storage } }
    answerJson(ctx, answer, { status: ready ? 200 : 503 })
  })

  router.get('/metrics', async (ctx) => {
    ctx.state.route = 'metrics'
    answerBytes(ctx, metrics.contentType, Buffer.from(await metrics.render()))
  })
  return router
}

/** One run for all who ask while it is under way: a storage that hangs is tried once, not by each. */
function shared(check: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= check().finally(() => {
      running = undefined
    })
    return running
  }
}

async function state(check: () => Promise<void>): Promise<'ok' | 'full' | 'failing'> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('too slow')), CHECK_MS)
  })
  try {
    await Promise.race([check(), late])
    return 'ok'
  } catch (error) {
    return asRegistryError(error)?.status === 507 ? 'full' : 'failing'
  } finally {
    clearTimeout(timer)
  }
}
