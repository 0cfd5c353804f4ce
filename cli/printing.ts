/*
 * What commands answer: aligned columns for people, and one JSON document a line for programs.
 * Texts that somebody else wrote must not be able to steer the terminal.
 */

// Control characters, line and paragraph separators, and marks that turn the direction of the text.
const STEERING = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** The text with U+FFFD for each character that a terminal would act on. */
export function harmless(text: string): string {
  return text.replaceAll(STEERING, '\uFFFD')
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** For people, where standard output is read by a program. */
export function remark(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** What is undefined is null, so that every document has the same keys. */
export function printJson(document: object): void {
  const text = JSON.stringify(document, (_key, value: unknown) => value ?? null)
  // JSON leaves some of them as they are.
  print(text.replaceAll(STEERING, (character) => `\\u${hex(character)}`))
}

function hex(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(4, '0')
}

/** `1 blob`, `2 blobs` */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** What a cell or a field may hold. */
export type Value = string | boolean | Date | readonly string[] | undefined

/** Rows below a line of titles, each column as wide as its widest cell; titles alone say nothing. */
export function printTable(
  titles: readonly string[],
  rows: readonly (readonly Value[])[],
  none: string,
): void {
  if (rows.length === 0) {
    remark(none)
    return
  }
  const lines = [titles, ...rows.map((row) => row.map(show))]
  const widths = titles.map((_title, column) =>
    lines.reduce((widest, line) => Math.max(widest, widthOf(line[column]!)), 0),
  )
  for (const line of lines) {
    print(
      line
        .map((cell, column) => cell + ' '.repeat(widths[column]! - widthOf(cell)))
        .join('  ')
        .trimEnd(),
    )
  }
}

/** One field a line. */
export function printFields(fields: Readonly<Record<string, Value>>): void {
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  for (const [name, value] of Object.entries(fields)) {
    print(`${name.padEnd(width)}  ${show(value)}`.trimEnd())
  }
}

/** `what` is kept nowhere. @param login a command that it can be given to */
export function printSecret(what: string, secret: string, login?: string): void {
  print(`\n${what} is shown only here:\n\n  ${secret}\n`)
  if (login !== undefined) print(`Log in with it as the password:\n\n  ${login}\n`)
}

function show(value: Value): string {
  if (value === undefined) return '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (value instanceof Date) return showTime(value)
  const text = typeof value === 'string' ? value : value.join(' ')
  return text === '' ? '-' : harmless(text)
}

/** `2027-01-31 12:00:00Z` */
function showTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`
}

/** In characters, most of which take one column. */
function widthOf(text: string): number {
  return Array.from(text).length
}
