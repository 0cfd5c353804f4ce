import { z } from 'zod'
import { isRepositoryName } from '../oci/reference.ts'
import type { Setting } from './setting.ts'
import {
  isUpstreamField,
  UPSTREAM_FIELDS,
  type UpstreamField,
  type UpstreamValue,
} from './upstream-fields.ts'

type Shape = {
  readonly [Field in UpstreamField]: z.ZodOptional<(typeof UPSTREAM_FIELDS)[Field]['schema']>
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each field has its own schema
const shape = Object.fromEntries(
  Object.entries(UPSTREAM_FIELDS).map(([field, { schema }]) => [field, schema.optional()]),
) as unknown as Shape

const fields = z.strictObject(shape, {
  error: (issue) => {
    if (issue.code !== 'unrecognized_keys') return 'expected fields, such as url: https://…'
    // A colon without a space after it makes a value part of the key: it may be a password.
    const names = issue.keys.map((key) => (/^[A-Za-z]+$/.test(key) ? key : 'a key'))
    return names.map((key) => `${key}: no such field`).join('; ')
  },
})

/** One upstream as it is written; also what is stored of one. What is left out stays so. */
export const upstreamSchema = fields.superRefine((upstream, context) => {
  for (const [field, message] of credentialProblems(upstream)) {
    context.addIssue({ code: 'custom', path: [field], message })
  }
})

export type WrittenUpstream = z.output<typeof upstreamSchema>

const PASSWORDS = ['password', 'passwordFile', 'passwordVariable'] as const

type CredentialFields = {
  readonly [Field in
    | (typeof PASSWORDS)[number]
    | 'username'
    | 'credentialCommand'
    | 'credentialSeconds']?: unknown
}

function* credentialProblems(upstream: CredentialFields): Generator<[UpstreamField, string]> {
  const { username, credentialCommand } = upstream
  const given = PASSWORDS.filter((field) => upstream[field] !== undefined)
  if (credentialCommand !== undefined && (username !== undefined || given.length > 0)) {
    yield ['credentialCommand', 'instead of a user name and a password, not besides']
  } else if (given.length > 1) {
    yield [given[1]!, `one password, and ${given[0]} is given as well`]
  } else if (username !== undefined && given.length === 0) {
    yield ['username', `one of ${PASSWORDS.join(', ')} goes with it`]
  } else if (username === undefined && given.length > 0) {
    yield [given[0]!, 'username goes with it']
  }
  if (upstream.credentialSeconds !== undefined && credentialCommand === undefined) {
    yield ['credentialSeconds', 'credentialCommand goes with it']
  }
}

export type OptionalField = 'username' | (typeof PASSWORDS)[number] | 'credentialCommand' | 'ca'

/** An upstream with all that follows from its name, before any file or variable is read. */
export type CompleteUpstream = { readonly name: string } & {
  readonly [Field in Exclude<UpstreamField, OptionalField>]: UpstreamValue<Field>
} & { readonly [Field in OptionalField]?: UpstreamValue<Field> }

/** A definition cannot be used. No problem shows a value. */
export class InvalidUpstream extends Error {
  override readonly name = 'InvalidUpstream'
  /** `field: what was expected` */
  readonly problems: readonly string[]

  constructor(name: string, problems: readonly string[]) {
    super(`the upstream ${name} is not usable: ${problems.join('; ')}`)
    this.problems = problems
  }
}

interface WellKnown {
  readonly url: string
  readonly aliases?: readonly string[]
  readonly realms: readonly string[]
}

const HUB = 'docker.io'

const WELL_KNOWN: ReadonlyMap<string, WellKnown> = new Map([
  [
    HUB,
    {
      url: 'https://registry-1.docker.io',
      aliases: ['registry-1.docker.io', 'index.docker.io'],
      realms: ['auth.docker.io'],
    },
  ],
  ['registry.gitlab.com', { url: 'https://registry.gitlab.com', realms: ['gitlab.com'] }],
])

const NAME =
  'expected a name such as docker.io: lower case, without a port, which belongs into url and hosts'

function isUpstreamName(name: string): boolean {
  return isRepositoryName(name) && !name.includes('/')
}

/**
 * Checks a definition without looking at what it names.
 *
 * @param value fields by their keys; undefined, and null as in YAML, for one without any
 * @throws InvalidUpstream
 */
export function checkUpstream(name: string, value: unknown): WrittenUpstream {
  if (!isUpstreamName(name)) throw new InvalidUpstream('', [`name: ${NAME}`])
  const parsed = upstreamSchema.safeParse(withoutEmpty(value))
  const problems = parsed.success
    ? problemsOfName(name, parsed.data)
    : parsed.error.issues.map(({ path, message }) =>
        path[0] === undefined ? message : `${String(path[0])}: ${message}`,
      )
  if (parsed.success && problems.length === 0) return parsed.data
  throw new InvalidUpstream(name, [...new Set(problems)])
}

function problemsOfName(name: string, { url, prefix }: WrittenUpstream): string[] {
  const problems: string[] = []
  if (url === undefined && !name.includes('.')) {
    problems.push(`url: needed, as ${name} does not look like a host`)
  }
  if (prefix?.startsWith(`${name}/`)) problems.push('prefix: begins with the name')
  return problems
}

/** A known key without a value is a field that was left out; others may be slips, and are kept. */
function withoutEmpty(value: unknown): unknown {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) return value
  const entries = Object.entries(value)
  return Object.fromEntries(
    entries.filter(([key, each]) => !isUpstreamField(key) || (each ?? undefined) !== undefined),
  )
}

const STANDARDS = fields.parse(
  Object.fromEntries(
    Object.entries<Setting>(UPSTREAM_FIELDS)
      .filter(([, { standard }]) => standard !== undefined)
      .map(([field, { standard }]) => [field, standard]),
  ),
)

/** The definition with what follows from the name, and the defaults. */
export function completeUpstream(name: string, written: WrittenUpstream): CompleteUpstream {
  const { url = `https://${name}`, aliases = [], realms = [] } = WELL_KNOWN.get(name) ?? {}
  const isElsewhere = written.url !== undefined && written.url !== url
  const complete = {
    name,
    url,
    hosts: [name, ...aliases],
    prefix: name,
    plain: name === HUB,
    library: name === HUB,
    // Credentials for one registry are none of the business of another one's token service.
    realms: isElsewhere ? [] : realms,
    ...STANDARDS,
    ...written,
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema leaves out what is undefined
  return complete as CompleteUpstream
}
