import { z } from 'zod'
import { ACTIONS, type Coverage } from '../../auth/rules/grant.ts'

/** Text of people, for people. */
export const description = z
  .string()
  .max(1000)
  .refine((text) => !text.includes('\0'), 'has a NUL in it')

/** A time that comes in, with the offset of its zone. */
export const instant = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  .pipe(z.date())

/** A time that goes out, in UTC. */
export const time = z.iso.datetime()

export const names = z.array(z.string())

const actions = z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length)

const globs = z.array(z.string()).min(1).max(100)

/** Repositories, tags and actions, as they come in. */
export const coverageFields = {
  repositories: globs.meta({ description: 'Globs: `*` within a component, `**` across.' }),
  tags: globs.nullish().meta({ description: 'Globs. Left out or null: the tags do not matter.' }),
  actions,
}

/** The same as they go out. */
export const shownCoverageFields = {
  repositories: names,
  tags: names.nullable(),
  actions: z.array(z.enum(ACTIONS)),
}

export function showCoverage({ repositories, tags, actions: given }: Coverage) {
  return { repositories: [...repositories], tags: tags ? [...tags] : null, actions: [...given] }
}

export function showTime(at: Date): string
export function showTime(at: Date | undefined): string | null
export function showTime(at: Date | undefined): string | null {
  return at?.toISOString() ?? null
}

/** Digits of a row id. */
export const rowId = z.string().regex(/^[1-9]\d{0,17}$/, 'expected the id of the last item')

/** A number that arrives as text. */
export function count(max: number) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : text),
    z.int('expected a whole number').min(1).max(max),
  )
}
