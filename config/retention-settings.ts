import { z } from 'zod'
import { RETENTION_FIELDS } from './retention-fields.ts'
import { type Setting, wholeNumber } from './setting.ts'

type Fields = typeof RETENTION_FIELDS

const RULE = 'expected a rule, such as { name: ci, repositories: [team/**], delete: … }'

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each field has its own schema
const shape = Object.fromEntries(
  Object.entries(RETENTION_FIELDS).map(([field, { schema }]) => [field, schema]),
) as unknown as { readonly [Field in keyof Fields]: Fields[Field]['schema'] }

const ruleSchema = z
  .strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return RULE
      return issue.keys.map((key) => `${key}: no such field`).join('; ')
    },
  })
  .refine(
    (rule) => (rule.delete ?? rule.keep ?? rule.untagged) !== undefined,
    'it says nothing: expected delete, keep or untagged',
  )

/** One rule with its defaults; spans in seconds. */
type WrittenRetentionRule = z.output<typeof ruleSchema>

const RULES = 'expected a list of rules'

/** A list, as in YAML, or a text with the list in JSON. */
const rules = z.unknown().transform((value, context) => {
  const parsed: WrittenRetentionRule[] = []
  const problem = (path: readonly PropertyKey[], message: string) =>
    context.addIssue({ code: 'custom', path: [...path], message })
  const listed = listOf(value)
  if (listed === undefined) problem([], RULES)
  for (const [index, given] of (listed ?? []).entries()) {
    const place = `rule ${index + 1}`
    const rule = ruleSchema.safeParse(given)
    if (!rule.success) {
      for (const { path, message } of rule.error.issues) problem([place, ...path], message)
      continue
    }
    if (parsed.some(({ name }) => name === rule.data.name)) {
      problem([place, 'name'], `there is another ${rule.data.name}`)
    }
    parsed.push(rule.data)
  }
  return parsed
})

function listOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value
  if (typeof value !== 'string') return undefined
  if (value.trim() === '') return []
  try {
    return listOf(JSON.parse(value))
  } catch {
    return undefined
  }
}

const SUBJECT = /^(?:anonymous|(?:user|robot):\S+)$/
const SUBJECTS = 'expected users and robots, such as robot:scanner, or anonymous'

const subjects = z
  .union(
    [z.array(z.string()), z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean))],
    SUBJECTS,
  )
  .refine((list) => list.every((subject) => SUBJECT.test(subject)), SUBJECTS)

/** Which tags go by themselves. */
export const RETENTION_SETTINGS = {
  'retention.rules': {
    schema: rules,
    standard: '',
    text: 'Which tags of hosted repositories go by themselves: a list of rules, in a variable or a flag as JSON. See *Retention* below.',
  },
  'retention.everySeconds': {
    schema: wholeNumber(0, 365 * 86_400),
    standard: '86400',
    text: 'How often the rules are carried out, by one process at a time; 0: only by `slipway retention run`.',
  },
  'retention.ignorePullsOf': {
    schema: subjects,
    standard: '',
    text: 'Users and robots, such as `robot:scanner`, whose pulls do not count; `anonymous` for those of nobody known.',
  },
} as const satisfies Record<string, Setting>
