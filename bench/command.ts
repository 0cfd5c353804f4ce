import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/**
 * Runs a program to its end and gives its standard output.
 *
 * @throws Error when it cannot be started or ends with a failure
 */
export async function run(command: string, args: readonly string[] = []): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 16 * 1024 * 1024 })
  return stdout
}
