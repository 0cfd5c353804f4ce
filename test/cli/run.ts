import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { vi } from 'vitest'
import { COMMANDS } from '../../cli/commands.ts'
import { parseCommand } from '../../cli/usage.ts'
import type { TestDatabase } from '../support/database.ts'
import { runnable } from '../support/runnable.ts'

/** Flags that name a test's database as an external server. */
export function flagsOf({ connection }: TestDatabase): string[] {
  const { host, port, user, database } = connection
  return ['--database-url', `postgres://${user}@localhost/${database}?host=${host}&port=${port}`]
}

export interface Outcome {
  /** The exit code. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command in this process, which is quick. What it throws, this throws. */
export async function runHere(words: readonly string[]): Promise<Outcome> {
  const { command, ...rest } = parseCommand(COMMANDS, words)
  if (command === undefined || !('options' in rest)) throw new Error('no command')
  const written = { stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
      written[name] += String(chunk)
      return true
    }),
  )
  try {
    return { status: await command.run(rest.options), ...written }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

/** Runs the program while this process goes on; `input` is what it reads. */
export async function runProgram(words: readonly string[], input = ''): Promise<Outcome> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SLIPWAY_'))
  const child = spawn(process.execPath, [...runnable('cli/main.ts'), ...words], {
    cwd: tmpdir(),
    timeout: 60_000,
    env: Object.fromEntries(inherited),
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  child.stdin.end(input)
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { status: await ended, stdout, stderr }
}

/** The documents that `--json` printed. */
export function documentsIn({ stdout }: Outcome): Record<string, unknown>[] {
  const lines = stdout.split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}
