/** Nobody is believed who wants to be left alone for longer. */
const MAX_SECONDS = 3600

/** `Retry-After`, in seconds or as a date, as seconds from now; undefined when it says nothing. */
export function parseRetryAfter(
  header: string | string[] | undefined,
  now: number,
): number | undefined {
  const text = String(header ?? '').trim()
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text), MAX_SECONDS)
  // A date begins with the name of its day; Date.parse takes much that is none.
  const date = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(date)) return undefined
  return Math.min(Math.max(Math.ceil((date - now) / 1000), 0), MAX_SECONDS)
}
