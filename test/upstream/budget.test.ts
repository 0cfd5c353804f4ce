import { describe, expect, it } from 'vitest'
import { Budget } from '../../upstream/budget.ts'

const START = Date.parse('2026-11-21T10:00:00Z')

function open(reserve: number) {
  const clock = { ms: START }
  return { budget: new Budget(reserve, () => clock.ms), clock }
}

describe('the budget of an upstream', () => {
  it('is not known before it is told', () => {
    const { budget } = open(10)
    expect(budget.reading).toBeUndefined()
    expect(budget.leavesRoom).toBe(true)
  })

  it('leaves room while more is left than the reserve', () => {
    const { budget } = open(10)
    budget.read({ 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '11;w=21600' })
    expect(budget.reading).toEqual({ limit: 100, left: 11, at: new Date(START) })
    expect(budget.leavesRoom).toBe(true)

    budget.read({ 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '10;w=21600' })
    expect(budget.leavesRoom).toBe(false)
  })

  it('leaves room again when the window has passed', () => {
    const { budget, clock } = open(10)
    budget.read({ 'ratelimit-limit': '100;w=60', 'ratelimit-remaining': '0;w=60' })
    clock.ms = START + 59_999
    expect(budget.leavesRoom).toBe(false)
    clock.ms = START + 60_000
    expect(budget.leavesRoom).toBe(true)
  })

  it.each([
    [{}],
    [{ 'ratelimit-limit': '100;w=21600' }],
    [{ 'ratelimit-remaining': '3;w=21600' }],
    [{ 'ratelimit-limit': 'many', 'ratelimit-remaining': 'few' }],
    [{ 'ratelimit-limit': '100', 'ratelimit-remaining': '-1' }],
  ])('stays as it was after %j', (headers) => {
    const { budget } = open(10)
    budget.read({ 'ratelimit-limit': '200;w=60', 'ratelimit-remaining': '150;w=60' })
    budget.read(headers)
    expect(budget.reading).toMatchObject({ limit: 200, left: 150 })
  })

  it('needs no window to be told', () => {
    const { budget } = open(10)
    budget.read({ 'ratelimit-limit': '100', 'ratelimit-remaining': '3' })
    expect(budget.leavesRoom).toBe(false)
  })
})
