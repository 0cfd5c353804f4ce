import { describe, expect, it } from 'vitest'
import { parseExpiry, parseMoment } from '../../cli/times.ts'
import { UsageError } from '../../cli/usage.ts'

const NOW = new Date('2026-11-21T10:30:00Z')

describe('a time', () => {
  it.each([
    ['90d', '2027-02-19T10:30:00.000Z'],
    ['12h', '2026-11-21T22:30:00.000Z'],
    ['5m', '2026-11-21T10:35:00.000Z'],
    ['2w', '2026-12-05T10:30:00.000Z'],
    ['2027-01-31', '2027-01-31T00:00:00.000Z'],
    ['2027-01-31T12:00Z', '2027-01-31T12:00:00.000Z'],
    ['2027-01-31T12:00:30+02:00', '2027-01-31T10:00:30.000Z'],
  ])('to come may be %s', (text, expected) => {
    expect(parseExpiry(text, NOW).toISOString()).toBe(expected)
  })

  it.each([
    ['24h', '2026-11-20T10:30:00.000Z'],
    ['2020-02-29', '2020-02-29T00:00:00.000Z'],
  ])('past may be %s', (text, expected) => {
    expect(parseMoment(text, NOW).toISOString()).toBe(expected)
  })

  it.each(['', '90', 'd', '-1d', '1.5d', '90 d', '2027-02-31', '2027-13-01', '2027-01-31T12:00'])(
    'cannot be %j',
    (text) => {
      expect(() => parseExpiry(text, NOW)).toThrow(UsageError)
      expect(() => parseMoment(text, NOW)).toThrow(UsageError)
    },
  )

  it.each(['0d', '2026-11-21', '2026-11-21T10:30Z'])('that is over ends nothing: %s', (text) => {
    expect(() => parseExpiry(text, NOW)).toThrow('not over')
  })
})
