import { expect, it } from 'vitest'
import { parseRetryAfter } from '../../upstream/retry-after.ts'

const NOW = Date.parse('2026-11-21T10:00:00Z')

it.each([
  ['0', 0],
  ['17', 17],
  [' 17 ', 17],
  ['7200', 3600],
  ['999999999999', 3600],
  ['Sat, 21 Nov 2026 10:00:30 GMT', 30],
  ['Sat, 21 Nov 2026 09:00:00 GMT', 0],
  ['Sun, 22 Nov 2026 10:00:00 GMT', 3600],
  ['', undefined],
  ['-5', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  [undefined, undefined],
])('a Retry-After of %s says %s seconds', (header, seconds) => {
  expect(parseRetryAfter(header, NOW)).toBe(seconds)
})
