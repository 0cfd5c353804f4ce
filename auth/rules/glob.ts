import { RegistryError } from '../../oci/errors.ts'

/** The parts of a glob, in their order. */
type Part = { readonly literal: string } | typeof WITHIN | typeof ACROSS

const WITHIN = '*'
const ACROSS = '**'

const REPOSITORIES = /^[a-z0-9._/*-]{1,255}$/
const TAGS = /^[A-Za-z0-9._*-]{1,128}$/

/** @throws RegistryError NAME_INVALID for what could match no repository */
export function checkRepositoryGlob(glob: string): void {
  if (REPOSITORIES.test(glob) && !glob.includes('***')) return
  throw new RegistryError('NAME_INVALID', `${JSON.stringify(glob.slice(0, 260))} is no glob`)
}

/** @throws RegistryError TAG_INVALID for what could match no tag */
export function checkTagGlob(glob: string): void {
  if (TAGS.test(glob) && !glob.includes('***')) return
  throw new RegistryError('TAG_INVALID', `${JSON.stringify(glob.slice(0, 140))} is no glob`)
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
  let ends = new Set([0])
  for (const part of parts) {
    ends =
      typeof part === 'object'
        ? afterLiteral(ends, name, part.literal)
        : afterStar(ends, name, part)
    if (ends.size === 0) return false
  }
  return ends.has(name.length)
}

function afterLiteral(ends: ReadonlySet<number>, name: string, literal: string): Set<number> {
  const next = new Set<number>()
  for (const end of ends) if (name.startsWith(literal, end)) next.add(end + literal.length)
  return next
}

function afterStar(ends: ReadonlySet<number>, name: string, star: '*' | '**'): Set<number> {
  const next = new Set<number>()
  let open = false
  for (let at = 0; at <= name.length; at++) {
    if (ends.has(at)) open = true
    if (open) next.add(at)
    if (star === WITHIN && name[at] === '/') open = false
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
