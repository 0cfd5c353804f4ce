// Headers as Node has them raw: names and values in turns.

/** By name in any case; undefined leaves one out. */
export type HeaderChanges = Readonly<Record<string, string | undefined>>

export function changed(raw: readonly string[], changes: HeaderChanges = {}): string[] {
  const names = new Set(Object.keys(changes).map((name) => name.toLowerCase()))
  const kept = raw.filter((_, index) => !names.has(raw[index - (index % 2)]?.toLowerCase() ?? ''))
  const added = Object.entries(changes).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  )
  return [...kept, ...added]
}

/** @returns what is announced of the body */
export function lengthIn(rawHeaders: readonly string[]): number | undefined {
  const index = rawHeaders.findIndex((name) => name.toLowerCase() === 'content-length')
  return index < 0 ? undefined : Number(rawHeaders[index + 1])
}
