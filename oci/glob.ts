import { RegistryError } from './errors.ts'

/** The parts of a glob, in their order. */
type Part = { readonly literal: string } | typeof WITHIN | typeof ACROSS

const WITHIN = '*'
const ACROSS = '**'

const REPOSITORIES = /^[a-z0-9._/*-]{1,255}$/
const TAGS = /^[A-Za-z0-9._*-]{1,128}$/

const MOST_STARS = 4

/** @throws RegistryError NAME_INVALID for what could match no repository, or has too many stars */
export function checkRepositoryGlob(glob: string): void {
  if (REPOSITORIES.test(glob) && hasFewStars(glob)) return
  throw new RegistryError('NAME_INVALID', `${JSON.stringify(glob.slice(0, 260))} is no glob`)
}

/** @throws RegistryError TAG_INVALID for what could match no tag, or has too many stars */
export function checkTagGlob(glob: string): void {
  if (TAGS.test(glob) && hasFewStars(glob)) return
  throw new RegistryError('TAG_INVALID', `${JSON.stringify(glob.slice(0, 140))} is no glob`)
}

/** Of `*` and `**` four at most: what takes long to match is written by no one who means well. */
function hasFewStars(glob: string): boolean {
  const stars = glob.match(/\*+/g) ?? []
  return stars.length <= MOST_STARS && stars.every((star) => star.length <= 2)
}

/**
 * What names begin with that one of the globs matches: such beginnings, of which none begins with another;
 * '' alone: anything.
 */
export function prefixesOf(globs: readonly string[]): string[] {
  const found = [...new Set(globs.map((glob) => glob.replace(/\*[^]*/, '')))]
  return found.filter((each) => !found.some((other) => other !== each && each.startsWith(other)))
}

/** Tests a name in time proportional to both lengths, whatever the glob. */
export type Matcher = (name: string) => boolean

/** `*` stands for any characters but a slash, `**` for any; all others stand for themselves. */
export function compileGlob(glob: string): Matcher {
  const parts = partsOf(glob)
  const [first] = parts
  const prefix = typeof first === 'object' ? first.literal : ''
  if (parts.length === 1) {
    if (first === ACROSS) return () => true
    if (typeof first === 'object') return (name) => name === prefix
  }
  if (parts.length === 2 && parts[1] === ACROSS) return (name) => name.startsWith(prefix)
  return (name) => name.startsWith(prefix) && simulate(parts, name)
}

function partsOf(glob: string): Part[] {
  return glob
    .split(/(\*+)/)
    .filter((text) => text !== '')
    .map((text) => (text === WITHIN || text === ACROSS ? text : { literal: text }))
}

/** Keeps every place in `name` up to which the parts so far can match: no backtracking. */
function simulate(parts: readonly Part[], name: string): boolean {
  let ends = new Uint8Array(name.length + 1)
  ends[0] = 1
  for (const part of parts) {
    ends =
      typeof part === 'object'
        ? afterLiteral(ends, name, part.literal)
        : afterStar(ends, name, part)
  }
  return ends[name.length] === 1
}

function afterLiteral(ends: Uint8Array, name: string, literal: string): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(ends.length)
  for (let at = name.indexOf(literal); at >= 0; at = name.indexOf(literal, at + 1)) {
    if (ends[at] === 1) next[at + literal.length] = 1
  }
  return next
}

function afterStar(ends: Uint8Array, name: string, star: '*' | '**'): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(ends.length)
  let open = 0
  for (let at = 0; at < ends.length; at++) {
    if (ends[at] === 1) open = 1
    next[at] = open
    if (star === WITHIN && name[at] === '/') open = 0
  }
  return next
}

/** A regular expression for Postgres that matches what any of the globs does. */
export function patternOf(globs: readonly string[]): string {
  const alternatives = globs.map((glob) =>
    partsOf(glob)
      .map((part) => {
        if (part === ACROSS) return '.*'
        if (part === WITHIN) return '[^/]*'
        return part.literal.replaceAll(/[.\\+*?[^\]$(){}=!<>|:#/-]/g, String.raw`\$&`)
      })
      .join(''),
  )
  return `^(?:${alternatives.join('|')})$`
}
