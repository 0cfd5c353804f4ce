import { z } from 'zod'
import { RegistryError } from '../oci/errors.ts'
import { checkRepositoryGlob, checkTagGlob } from '../oci/glob.ts'
import { type Setting, span, wholeNumber } from './setting.ts'

/** A list, or a text with commas or spaces between its items, of globs that `check` takes. */
const globsOf = (expected: string, check: (glob: string) => void) =>
  z
    .union(
      [z.array(z.string()), z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean))],
      expected,
    )
    .superRefine((globs, context) => {
      for (const glob of globs.filter((each) => !isAccepted(check, each))) {
        const message = `${expected}, not ${JSON.stringify(glob.slice(0, 80))}`
        context.addIssue({ code: 'custom', message })
      }
    })
    .transform((globs) => [...new Set(globs)])

function isAccepted(check: (glob: string) => void, glob: string): boolean {
  try {
    check(glob)
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

const repositories = globsOf('expected globs of repositories, such as team/**', checkRepositoryGlob)
const tags = globsOf('expected globs of tags, such as pr-*', checkTagGlob)

const SPAN = 'expected a span such as 14d, 12h or 30m'
const PULLED = `${SPAN}, of 1h or more, as pulls are recorded to within some ten minutes`

const age = span(60, SPAN)
const sincePull = span(3600, PULLED)

/** What is newest is remembered while a repository is judged. */
const count = wholeNumber(1, 10_000)

type Issue = Parameters<Extract<z.core.$ZodErrorMap, (...of: never[]) => unknown>>[0]

/** Names the fields that there are not, and says what was expected of what has no fields. */
const wording = (expected: string) => (issue: Issue) => {
  if (issue.code !== 'unrecognized_keys') return expected
  return issue.keys.map((key) => `${key}: no such field`).join('; ')
}

const CONDITIONS =
  'expected one condition or several, such as { olderThan: 14d }, or always for tags of any age'

const conditions = z
  .strictObject(
    { olderThan: age.optional(), notPulledFor: sincePull.optional(), notNewest: count.optional() },
    { error: wording(CONDITIONS) },
  )
  .refine((given) => Object.values(given).some((value) => value !== undefined), CONDITIONS)

const DELETE = z.union([z.literal('always'), z.unknown()]).transform((value, context) => {
  if (value === 'always') return value
  return parsedBy(conditions, value, context)
})

const KEEPS = 'expected what is kept, such as { newest: 5, tags: [main] }'

const keeps = z
  .strictObject(
    {
      newest: count.optional(),
      tags: tags.optional(),
      pulledWithin: sincePull.optional(),
      pushedWithin: age.optional(),
    },
    { error: wording(KEEPS) },
  )
  .refine((given) => Object.values(given).some((value) => value !== undefined), KEEPS)

const UNTAGGED = 'expected keep, or a span such as 14d'

const untagged = z.union([z.literal('keep'), z.unknown()]).transform((value, context) => {
  return value === 'keep' ? value : parsedBy(span(0, UNTAGGED), value, context)
})

/** A union tells only that nothing of it fits; this tells what is wrong with what was meant. */
function parsedBy<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  context: z.RefinementCtx,
): z.output<Schema> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  for (const { path, message } of parsed.error.issues) {
    context.addIssue({ code: 'custom', path: [...path], message })
  }
  return z.NEVER
}

const NAME = 'expected a name such as ci'

/** What a rule of retention says, by the key within it. */
export const RETENTION_FIELDS = {
  name: {
    schema: z.string(NAME).regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, NAME),
    text: 'What plans call it; no two have the same.',
  },
  repositories: {
    schema: repositories.refine((globs) => globs.length > 0, 'expected one glob or several'),
    text: 'Globs of the hosted repositories it covers: `*` within a component, `**` across.',
  },
  exceptRepositories: {
    schema: repositories.default([]),
    text: 'Globs of those among them that it does not cover.',
  },
  tags: {
    schema: tags.refine((globs) => globs.length > 0, 'expected one glob or several').default(['*']),
    standard: '*',
    text: 'Globs of the tags it is about.',
  },
  exceptTags: {
    schema: tags.default([]),
    text: 'Globs of those among them that it is not about.',
  },
  delete: {
    schema: DELETE.optional(),
    text: 'Conditions, all of which have to hold: `olderThan: 14d` since the last push of the tag, `notPulledFor: 7d` since its last pull or push, `notNewest: 10` when ten others of the rule are newer. Or `always`. Without it the rule deletes nothing.',
  },
  keep: {
    schema: keeps.optional(),
    text: 'What stays whatever any rule deletes, for one of these reasons: `newest: 5` of the tags of the rule, `pulledWithin: 7d` or `pushedWithin: 1d` for tags of the rule, `tags: [main, v*]` for any tag of the repositories it covers.',
  },
  untagged: {
    schema: untagged.optional(),
    text: 'How long a manifest stays that nothing names: `14d`, or `keep` for good. In place of `gc.untaggedSeconds`; of several rules that cover a repository and say it, the first counts.',
  },
} as const satisfies Record<string, Setting>
