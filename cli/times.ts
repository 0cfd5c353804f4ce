import { UsageError } from './usage.ts'

const MS_PER: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
}

const EXPECTED = 'expected a span such as 90d, 12h or 30m, or a date such as 2027-01-31'

/**
 * `90d` from now, or the beginning of a day in UTC, or a time as ISO 8601 has it.
 *
 * @throws UsageError when it is nothing of these, or not in the future
 */
export function parseExpiry(text: string, now = new Date()): Date {
  const span = spanOf(text)
  const expiry = span === undefined ? parseTime(text) : new Date(now.getTime() + span)
  if (expiry === undefined || Number.isNaN(expiry.getTime())) {
    throw new UsageError(`${text}: ${EXPECTED}`)
  }
  if (expiry <= now) throw new UsageError(`${text}: expected a time that is not over`)
  return expiry
}

/** `24h` ago, or a time as {@link parseExpiry} has it. @throws UsageError */
export function parseMoment(text: string, now = new Date()): Date {
  const span = spanOf(text)
  const moment = span === undefined ? parseTime(text) : new Date(now.getTime() - span)
  if (moment === undefined || Number.isNaN(moment.getTime())) {
    throw new UsageError(`${text}: ${EXPECTED}`)
  }
  return moment
}

function spanOf(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,6})([mhdw])$/.exec(text) ?? []
  return unit === undefined ? undefined : Number(count) * MS_PER[unit]!
}

const TIME = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/

function parseTime(text: string): Date | undefined {
  const day = TIME.exec(text)?.[1]
  if (day === undefined) return undefined
  // The 31st of February would be a day of March.
  const start = new Date(day)
  if (Number.isNaN(start.getTime()) || !start.toISOString().startsWith(day)) return undefined
  return new Date(text)
}
