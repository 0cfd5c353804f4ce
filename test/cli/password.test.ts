import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { askTwice } from '../../cli/password.ts'
import { UsageError } from '../../cli/usage.ts'

/** A terminal on which somebody types `typed`, all at once. */
async function typing(typed: string): Promise<{ answer: unknown; shown: string }> {
  const input = new PassThrough()
  const output = new PassThrough()
  input.write(typed)
  const answer = await askTwice({ input, output }).catch((error: unknown) => error)
  return { answer, shown: String(output.read()) }
}

describe('a password that is asked for', () => {
  it('is what was typed twice, and is not shown', async () => {
    const { answer, shown } = await typing('hunter two\rhunter two\r')
    expect(answer).toBe('hunter two')
    expect(shown).toBe('Password: \nThe same again: \n')
  })

  it('may be corrected while it is typed', async () => {
    expect((await typing('hunterx\u007f\rhunter\r')).answer).toBe('hunter')
  })

  it.each([
    ['two different ones', 'hunter one\rhunter two\r', 'the two passwords differ'],
    ['Ctrl-C', 'hunter\u0003', 'no password was given'],
    ['Ctrl-D', '\u0004', 'no password was given'],
    ['Ctrl-C at the second', 'hunter\rhun\u0003', 'no password was given'],
  ])('is none after %s', async (_what, typed, message) => {
    const { answer, shown } = await typing(typed)
    expect(answer).toBeInstanceOf(UsageError)
    expect((answer as Error).message).toBe(message)
    expect(shown).not.toContain('hunter')
  })
})
