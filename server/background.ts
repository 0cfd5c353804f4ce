import { dropExpiredUploads } from '../registry/expired-uploads.ts'
import type { Registry } from '../registry/registry.ts'

const EVERY_MS = 60_000

/** Work that nobody asks for. Started by the composition root, one run at a time. */
export function startBackgroundWork(registry: Registry): { stop(): Promise<void> } {
  let running: Promise<void> | undefined
  const timer = setInterval(() => {
    running ??= sweep(registry).finally(() => {
      running = undefined
    })
  }, EVERY_MS)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await running
    },
  }
}

async function sweep(registry: Registry): Promise<void> {
  try {
    const dropped = await dropExpiredUploads(registry)
    if (dropped > 0) registry.log.info({ dropped }, 'idle uploads dropped')
  } catch (error) {
    // The next run tries again.
    registry.log.warn({ err: error }, 'idle uploads not dropped')
  }
}
