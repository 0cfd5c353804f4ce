/** What a token is asked for, or gives. Docker's token protocol, "Token Scope Documentation". */
export interface Scope {
  /** `repository`, with a class behind it sometimes; `registry` for the catalog. */
  readonly type: string
  readonly name: string
  readonly actions: readonly string[]
}

const MOST_SCOPES = 100
const MOST_ACTIONS = 10
/** Names and actions together; a longer one is none of ours. */
const MOST_LENGTH = 512

/**
 * Scopes of any number of parameters, each a list separated by spaces. What names the same
 * resource is united, and what is no scope is left out. Of more than 100 resources, and of more
 * than 10 actions of one, the rest is left out too.
 */
export function parseScopes(parameters: readonly string[]): Scope[] {
  const united = new Map<string, { readonly scope: Scope; readonly actions: Set<string> }>()
  for (const text of parameters.flatMap((parameter) => parameter.split(' '))) {
    const scope = parseScope(text)
    if (scope === undefined) continue
    const key = `${scope.type}:${scope.name}`
    const known = united.get(key) ?? { scope, actions: new Set() }
    if (united.size < MOST_SCOPES) united.set(key, known)
    for (const action of scope.actions) {
      if (known.actions.size < MOST_ACTIONS) known.actions.add(action)
    }
  }
  return [...united.values()].map(({ scope, actions }) => ({ ...scope, actions: [...actions] }))
}

/** The name may have colons itself: `repository:localhost:5000/app:pull`. */
function parseScope(text: string): Scope | undefined {
  if (text.length > MOST_LENGTH) return undefined
  const first = text.indexOf(':')
  const last = text.lastIndexOf(':')
  if (first <= 0 || last === first) return undefined
  const name = text.slice(first + 1, last)
  const actions = text
    .slice(last + 1)
    .split(',')
    .filter(Boolean)
  if (name === '' || actions.length === 0) return undefined
  return { type: text.slice(0, first).replace(/\(\w*\)$/, ''), name, actions }
}

export function formatScope({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(',')}`
}
