import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultPoint, Registry } from '../../registry/registry.ts'

/** Where something waits until it is let through. */
export interface Gate {
  /** Resolves when something waits. */
  readonly reached: Promise<void>
  readonly open: () => void
  readonly wait: () => Promise<void>
}

export function gate(): Gate {
  let reach!: () => void
  let open!: () => void
  const reached = new Promise<void>((resolve) => (reach = resolve))
  const opened = new Promise<void>((resolve) => (open = resolve))
  return {
    reached,
    open: () => open(),
    wait: async () => {
      reach()
      await opened
    },
  }
}

/** The same registry, which stops at a step until the gate is opened. */
export function stoppingAt(registry: Registry, step: FaultPoint, { wait }: Gate): Registry {
  return { ...registry, faultPoint: (at) => (at === step ? wait() : undefined) }
}

/** The same registry, which fails at a step as if it died there. */
export function dyingAt(registry: Registry, step: FaultPoint): Registry {
  return {
    ...registry,
    faultPoint: (at) => {
      if (at === step) throw new Error(`died at ${step}`)
    },
  }
}

/** The same registry, with methods of its blob store replaced. */
export function withBlobs(registry: Registry, replaced: Partial<Registry['blobs']>): Registry {
  const blobs = new Proxy(registry.blobs, {
    get: (store, key) => {
      const value: unknown = Reflect.get(key in replaced ? replaced : store, key)
      return typeof value === 'function' ? (value.bind(store) as unknown) : value
    },
  })
  return { ...registry, blobs }
}

/** Whether `work` is still waiting a while later. */
export async function isWaiting(work: Promise<unknown>): Promise<boolean> {
  const done = work.then(
    () => false,
    () => false,
  )
  return Promise.race([done, sleep(150, true)])
}
