import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Calls, countCalls } from './calls.ts'
import { Sockets } from './sockets.ts'

/** Which of the processes' calls to follow, as strace understands it. */
export interface TraceSettings {
  readonly pids: readonly number[]
  readonly calls: string
  /** Where strace writes to. */
  readonly file: string
}

export interface Trace {
  /** Lets go of the processes. */
  end(this: void): Promise<Calls>
}

/** Follows system calls; resolves when every process is followed. @throws Error without strace */
export async function trace({ pids, calls, file }: TraceSettings): Promise<Trace> {
  const processes = pids.flatMap((pid) => ['-p', String(pid)])
  const child = spawn(
    'strace',
    ['-f', '-y', '-s', '0', '-e', `trace=${calls}`, '-e', 'signal=none', '-o', file, ...processes],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const ended = once(child, 'exit')
  await new Promise<void>((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (pids.every((pid) => said.includes(`Process ${pid} attached`))) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`strace ended: ${said}`)))
  })
  return {
    end: async () => {
      // While they are open.
      const sockets = new Sockets()
      child.kill('SIGINT')
      await ended
      return countCalls(readFileSync(file, 'utf8').split('\n'), sockets)
    },
  }
}
