import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { UsageError } from './usage.ts'

export interface NewPassword {
  readonly password: string
  /** Nobody knows it yet: it has to be shown. */
  readonly isMadeUp: boolean
}

/**
 * All of standard input when it carries the password; else what somebody at a terminal types twice;
 * else one that is made up, with 144 random bits.
 *
 * @throws UsageError when it was not typed twice alike, or standard input was empty
 */
export async function newPassword({
  fromInput,
}: {
  readonly fromInput: boolean
}): Promise<NewPassword> {
  const { stdin, stderr } = process
  if (fromInput) {
    const password = (await text(stdin)).replace(/\r?\n$/, '')
    if (password === '') throw new UsageError('expected the password on standard input')
    return { password, isMadeUp: false }
  }
  if (stdin.isTTY && stderr.isTTY) {
    return { password: await askTwice({ input: stdin, output: stderr }), isMadeUp: false }
  }
  return { password: randomBytes(18).toString('base64url'), isMadeUp: true }
}

export interface Terminal {
  readonly input: NodeJS.ReadableStream
  readonly output: NodeJS.WritableStream
}

/** Shows nothing of what is typed. @throws UsageError when the two differ, or it is given up */
export async function askTwice({ input, output }: Terminal): Promise<string> {
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input, output: silence, terminal: true, historySize: 0 })
  prompt.once('SIGINT', () => prompt.close())
  // Keeps a line that comes before it is asked for, as when both are pasted.
  const lines = prompt[Symbol.asyncIterator]()
  const ask = async (question: string) => {
    output.write(question)
    const { value, done } = await lines.next()
    output.write('\n')
    if (done) throw new UsageError('no password was given')
    return value
  }
  try {
    const first = await ask('Password: ')
    const second = await ask('The same again: ')
    if (first !== second) throw new UsageError('the two passwords differ')
    return first
  } finally {
    prompt.close()
  }
}
