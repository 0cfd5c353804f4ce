/** One way to authenticate that a 401 offers. RFC 9110, section 11. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string
  /** By name in lower case; of a name that comes twice, the first. */
  readonly parameters: ReadonlyMap<string, string>
}

const MAX_LENGTH = 8192

const TOKEN = /[!#$%&'*+\-.^_`|~\w]+/y
const PARAMETER = /[ \t]*([!#$%&'*+\-.^_`|~\w]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/y
const TOKEN68 = /[ \t]+[\w\-.~+/]+=*(?=[ \t]*(?:,|$))/y
const SEPARATORS = /[ \t,]*/y

/** The value of `WWW-Authenticate`, with all its challenges; what cannot be read ends the list. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ')
  if (text.length > MAX_LENGTH) return []
  const reader = new Reader(text)
  const challenges: Challenge[] = []
  for (;;) {
    reader.take(SEPARATORS)
    const scheme = reader.take(TOKEN)?.[0]
    if (scheme === undefined) return challenges
    challenges.push({ scheme: scheme.toLowerCase(), parameters: takeParameters(reader) })
  }
}

function takeParameters(reader: Reader): Map<string, string> {
  const parameters = new Map<string, string>()
  if (reader.take(TOKEN68) !== undefined) return parameters
  for (;;) {
    const before = reader.position
    reader.take(SEPARATORS)
    const match = reader.take(PARAMETER)
    if (match === undefined) {
      reader.position = before
      return parameters
    }
    const name = match[1]!.toLowerCase()
    const value = match[3] ?? match[2]!.replaceAll(/\\(.)/g, '$1')
    if (!parameters.has(name)) parameters.set(name, value)
  }
}

/** Steps through a text by sticky expressions. */
class Reader {
  position = 0
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position
    const match = pattern.exec(this.#text)
    if (match === null) return undefined
    this.position = pattern.lastIndex
    return match
  }
}
