import { spawn } from 'node:child_process'
import { once } from 'node:events'

const MAX_OUTPUT_BYTES = 65_536

/** Why a credential command gave nothing. Its message holds nothing of what the command wrote. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
}

/** As `docker-credential-…` answers to `get`. */
export interface CommandAnswer {
  readonly username: string
  readonly secret: string
}

/**
 * Runs a credential helper: `get` as its last argument, the host on its input. There is no shell,
 * and the environment is ours, as helpers look there for what they need.
 *
 * @throws CommandFailure
 */
export async function runCredentialCommand(
  command: readonly string[],
  host: string,
  limitMs: number,
): Promise<CommandAnswer> {
  const [file, ...args] = command
  if (file === undefined) throw new CommandFailure('there is no command')
  const child = spawn(file, [...args, 'get'], { stdio: ['pipe', 'pipe', 'ignore'], shell: false })
  const stop = () => {
    child.kill('SIGKILL')
    // A process it started may hold the pipe open.
    child.stdout.destroy()
  }
  let complaint: string | undefined
  const stopFor = (why: string) => {
    complaint ??= why
    stop()
  }
  const overdue = setTimeout(() => stopFor(`it took longer than ${limitMs / 1000} s`), limitMs)
  // Who does not read its input is judged by its answer.
  child.stdin.on('error', () => {})
  child.stdin.end(`${host}\n`)
  const chunks: Buffer[] = []
  let bytes = 0
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > MAX_OUTPUT_BYTES) stopFor(`it wrote more than ${MAX_OUTPUT_BYTES} bytes`)
    else chunks.push(chunk)
  })
  try {
    const status = await endOf(child)
    if (complaint !== undefined) throw new CommandFailure(complaint)
    if (status !== '0') throw new CommandFailure(`it ended with ${status}`)
    return parseAnswer(Buffer.concat(chunks).toString('utf8'))
  } finally {
    clearTimeout(overdue)
  }
}

/** @returns the status, or the name of the signal that ended it */
async function endOf(child: ReturnType<typeof spawn>): Promise<string> {
  try {
    const [status, signal]: unknown[] = await once(child, 'close')
    return String(status ?? signal)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no reason'
    throw new CommandFailure(`it cannot be run (${code})`)
  }
}

function parseAnswer(output: string): CommandAnswer {
  const answer = parseObject(output)
  const { Username: username, Secret: secret } = answer
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') {
    throw new CommandFailure('its answer has no Username and Secret')
  }
  return { username, secret }
}

/** The parser's own message would repeat the text. */
function parseObject(output: string): { Username?: unknown; Secret?: unknown } {
  try {
    const answer: unknown = JSON.parse(output)
    return typeof answer === 'object' && answer !== null ? answer : {}
  } catch {
    throw new CommandFailure('its answer is not JSON')
  }
}
