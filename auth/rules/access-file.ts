import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { RegistryError } from '../../oci/errors.ts'
import { checkRepositoryGlob, checkTagGlob } from '../../oci/glob.ts'
import { issuerSchema } from '../trusted-issuers/schema.ts'
import type { TrustedIssuer } from '../trusted-issuers.ts'
import { WatchedFile, type WatchedFileOptions } from '../watched-file.ts'
import { ACTIONS, type Grant } from './grant.ts'
import { checkSubject, NAME } from './subject.ts'

/** What the access file says; empty without one. */
export interface AccessRules {
  readonly grants: readonly Grant[]
  /** Names of groups by the name of the account that is in them. */
  readonly groupsOf: ReadonlyMap<string, readonly string[]>
  readonly issuers: readonly TrustedIssuer[]
}

export const NO_RULES: AccessRules = { grants: [], groupsOf: new Map(), issuers: [] }

export type AccessFile = WatchedFile<AccessRules>

type AccessFileOptions = Pick<WatchedFileOptions<AccessRules>, 'log' | 'onChange' | 'pollMs'>

/** The rules of a YAML file. @throws Error that says what is wrong, when it cannot be used at first */
export function openAccessFile(file: string, options: AccessFileOptions): Promise<AccessFile> {
  return WatchedFile.open({ ...options, path: file, name: 'access file', parse: parseAccessFile })
}

/** @throws Error with the places and what was expected there */
export function parseAccessFile(bytes: Buffer): AccessRules {
  const document: unknown = parseYaml(bytes.toString('utf8'))
  // Half a file that was being written, perhaps: nobody means to take all rules away like that.
  if (document === null)
    throw new Error('the access file is empty; {} says that there are no rules')
  const parsed = documentSchema.safeParse(document)
  if (parsed.success) return toRules(parsed.data)
  const problems = parsed.error.issues.map(
    ({ path, message }) => `  ${path.join('.') || 'the file'}: ${message}`,
  )
  throw new Error(`the access file is not usable:\n${problems.join('\n')}`)
}

/** Says what `check` throws. */
function complaint(check: () => void): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return error instanceof RegistryError ? error.details.join('; ') : String(error)
  }
}

/** One glob, or a list of them. */
function globs(check: (glob: string) => void) {
  const glob = z.string().superRefine((text, context) => {
    const message = complaint(() => check(text))
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
  const list = z.array(glob, 'expected a glob, or a list of them').min(1)
  return z.preprocess((value) => (typeof value === 'string' ? [value] : value), list)
}

const rights = z
  .record(z.string(), z.array(z.enum(ACTIONS)).min(1))
  .superRefine((record, context) => {
    for (const subject of Object.keys(record)) {
      const message = complaint(() => checkSubject(subject))
      if (message !== undefined) context.addIssue({ code: 'custom', message })
    }
  })

const grantSchema = z
  .strictObject({
    repositories: globs(checkRepositoryGlob),
    tags: globs(checkTagGlob).optional(),
    allow: rights.optional(),
    deny: rights.optional(),
  })
  .refine(({ allow, deny }) => allow !== undefined || deny !== undefined, 'expected allow or deny')

const documentSchema = z.strictObject({
  groups: z.record(z.string().regex(NAME, 'expected a name'), z.array(z.string())).default({}),
  grants: z.array(grantSchema).default([]),
  issuers: z.array(issuerSchema).default([]),
})

function toRules({ groups, grants, issuers }: z.output<typeof documentSchema>): AccessRules {
  const groupsOf = new Map<string, string[]>()
  for (const [group, members] of Object.entries(groups)) {
    for (const member of members) groupsOf.set(member, [...(groupsOf.get(member) ?? []), group])
  }
  if (new Set(issuers.map(({ name }) => name)).size < issuers.length) {
    throw new Error('two issuers have the same name')
  }
  return { grants: grants.flatMap(toGrants), groupsOf, issuers }
}

function toGrants(entry: z.output<typeof grantSchema>, index: number): Grant[] {
  const shared = {
    origin: `access file, grant ${index + 1}`,
    repositories: entry.repositories,
    tags: entry.tags,
  }
  return (['deny', 'allow'] as const).flatMap((effect) =>
    Object.entries(entry[effect] ?? {}).map(([subject, actions]) => ({
      ...shared,
      effect,
      subject,
      actions,
    })),
  )
}
