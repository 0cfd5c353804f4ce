import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { type Account, commandAs } from './account.ts'

/** How a program ended; `output` is what it wrote to stdout, `complaint` what it wrote to stderr. */
export interface ProgramResult {
  readonly succeeded: boolean
  readonly output: string
  readonly complaint: string
}

export interface ProgramOptions {
  readonly account: Account | undefined
  readonly input?: string
}

/** Runs a program to its end. Never rejects: a program that cannot be started is one that did not succeed. */
export async function runProgram(
  file: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const command = commandAs(options.account, file, args)
  const child = spawn(command.file, command.args, {
    ...command.identity,
    // Our own working directory may be closed to that user, and initdb looks it up.
    cwd: '/',
    env: serverEnvironment(),
    stdio: 'pipe',
  })
  const ended = new Promise<{ code: number | null; failure: string }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, failure: error.message }))
    child.once('close', (code) => resolve({ code, failure: '' }))
  })
  // A program that ends before it has read its input is judged by its exit status.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')

  const [output, complaint, end] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    ended,
  ])
  return {
    succeeded: end.code === 0,
    output: output.trim(),
    complaint: `${complaint}\n${end.failure}`.trim(),
  }
}

/** The whole environment of the programs we start: nothing of ours leaks in, no PG* variable steers them. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
}
