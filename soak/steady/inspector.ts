import { setTimeout as sleep } from 'node:timers/promises'
import { type MessageEvent, WebSocket } from 'undici'

const PATIENCE_MS = 30_000

/** What is in use in one process, in bytes, when all that is not was collected. */
export interface LiveMemory {
  readonly heapUsed: number
  readonly external: number
}

/**
 * A way into a server process that needs no flag: the debugger of Node, which a signal wakes. It
 * holds some descriptors of its own from then on.
 */
export class Inspector {
  readonly #url: string

  private constructor(url: string) {
    this.#url = url
  }

  /** @throws Error when the debugger of the process does not answer */
  static async open(pid: number, port: number): Promise<Inspector> {
    process.kill(pid, 'SIGUSR1')
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const url = await urlAt(port).catch(() => undefined) // not listening yet
      if (url !== undefined) return new Inspector(url)
      if (performance.now() > deadline) throw new Error(`no debugger in process ${pid}`)
      await sleep(50)
    }
  }

  /** Collects twice, as finalizers of the first time let go of more. */
  async liveMemory(): Promise<LiveMemory> {
    const socket = new WebSocket(this.#url)
    try {
      await heard(socket, 'open')
      await call(socket, 'HeapProfiler.collectGarbage')
      await sleep(200)
      await call(socket, 'HeapProfiler.collectGarbage')
      const expression = 'JSON.stringify(process.memoryUsage())'
      const { result } = (await call(socket, 'Runtime.evaluate', { expression })) as {
        result: { value: string }
      }
      return JSON.parse(result.value) as LiveMemory
    } finally {
      socket.close()
    }
  }
}

async function urlAt(port: number): Promise<string | undefined> {
  const headers = { Connection: 'close' }
  const answer = await fetch(`http://127.0.0.1:${port}/json/list`, { headers })
  const [target] = (await answer.json()) as { webSocketDebuggerUrl: string }[]
  return target?.webSocketDebuggerUrl
}

async function call(socket: WebSocket, method: string, params: object = {}): Promise<unknown> {
  const answered = heard(socket, 'message')
  socket.send(JSON.stringify({ id: 1, method, params }))
  const { data } = (await answered) as MessageEvent<string>
  const { result, error } = JSON.parse(data) as { result: unknown; error?: { message: string } }
  if (error !== undefined) throw new Error(`${method}: ${error.message}`)
  return result
}

function heard(socket: WebSocket, type: 'open' | 'message'): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const overdue = setTimeout(() => reject(new Error('the debugger is silent')), PATIENCE_MS)
    const failed = () => reject(new Error('the debugger is gone'))
    socket.addEventListener('close', failed, { once: true })
    socket.addEventListener('error', failed, { once: true })
    socket.addEventListener(
      type,
      (event) => {
        clearTimeout(overdue)
        resolve(event)
      },
      { once: true },
    )
  })
}
