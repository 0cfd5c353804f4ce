import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { ServerProcess } from './server.ts'
import { until, type Workspace } from './workspace.ts'

export interface Trace {
  /** Resolves when an injected SIGKILL has struck. */
  struck(this: void): Promise<void>
  /** Lets go of the process, unless that has ended. @returns the calls, a line each, in order */
  end(this: void): Promise<string[]>
}

let traces = 0

/**
 * Follows the system calls of a running server, and not those of its database. `calls` and
 * `inject` are as strace understands them. Resolves when every thread is followed.
 */
export async function traceServer(
  workspace: Workspace,
  { pid }: Pick<ServerProcess, 'pid'>,
  { calls, inject }: { calls: string; inject?: string },
): Promise<Trace> {
  const file = path.join(workspace.folder, `trace-${++traces}`)
  const faults = inject === undefined ? [] : ['-e', `inject=${inject}`]
  const selection = ['-e', `trace=${calls}`, ...faults, '-e', 'signal=none']
  const output = ['-f', '-y', '-s', '64', '-o', file]
  const child = spawn('strace', [...output, ...selection, '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(child, 'exit')
  const attached = new Promise<void>((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('attached')) resolve()
    })
    child.once('exit', () => reject(new Error(`strace ended: ${said}`)))
  })
  workspace.onClose(() => Promise.resolve(child.kill('SIGKILL')))
  await attached
  const lines = () => readFileSync(file, 'utf8').split('\n')
  return {
    struck: async () => {
      // A call that never returns.
      await until('the injected signal', () => lines().some((line) => line.endsWith('= ?')))
      // The tracer may wait for ever for threads that are gone, and they for it.
      child.kill('SIGKILL')
      await ended
    },
    end: async () => {
      child.kill('SIGINT')
      await ended
      return lines()
    },
  }
}
