import { describe, expect, it, onTestFinished } from 'vitest'
import { Deadline, unlessAborted } from '../../upstream/deadline.ts'

function open(...parents: AbortSignal[]): Deadline {
  const deadline = new Deadline(parents)
  onTestFinished(() => deadline.end())
  return deadline
}

describe('a deadline', () => {
  it('follows whichever of its signals is aborted first', () => {
    const [one, two] = [new AbortController(), new AbortController()]
    const { signal } = open(one.signal, two.signal)
    two.abort('two')
    one.abort('one')
    expect(signal.reason).toBe('two')
  })

  it('follows a signal together with others', () => {
    const parent = new AbortController()
    const signals = [open(parent.signal).signal, open(parent.signal).signal]
    parent.abort('left')
    expect(signals.map(({ reason }) => reason)).toEqual(['left', 'left'])
  })

  it('has passed from the beginning when a signal is aborted already', () => {
    expect(open(AbortSignal.abort('before')).signal.reason).toBe('before')
  })

  it('passes with its limit', async () => {
    const deadline = open()
    const limit = new Error('too late')
    deadline.limit(1, () => limit)
    await expect(unlessAborted(new Promise(() => {}), deadline.signal)).rejects.toBe(limit)
  })

  it('has no limit any more once that is lifted', async () => {
    const [lifted, other] = [open(), open()]
    lifted.limit(1, () => new Error('lifted'))
    other.limit(20, () => new Error('other'))
    lifted.lift()
    await expect(unlessAborted(new Promise(() => {}), other.signal)).rejects.toThrow('other')
    expect(lifted.signal.aborted).toBe(false)
  })

  it('follows nobody after its end', () => {
    const parent = new AbortController()
    const deadline = open(parent.signal)
    deadline.end()
    parent.abort()
    expect(deadline.signal.aborted).toBe(false)
  })
})
