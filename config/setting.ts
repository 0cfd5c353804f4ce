import { z } from 'zod'

/** One entry of the table in `settings.ts`. */
export interface Setting {
  readonly schema: z.ZodType
  /** One sentence; docs/configuration.md is made of them. */
  readonly text: string
  /** As a person would write it; undefined when there is none. */
  readonly standard?: string
  /** Never shown, and readable from a file named by the variable with `_FILE` appended. */
  readonly secret?: true
}

const WHOLE_NUMBER = 'expected a whole number'

export const wholeNumber = (min: number, max: number) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^-?\d+$/, WHOLE_NUMBER)
          .transform(Number),
      ],
      WHOLE_NUMBER,
    )
    .pipe(
      z
        .number()
        .int(WHOLE_NUMBER)
        .min(min, `expected at least ${min}`)
        .max(max, `expected at most ${max}`),
    )

export const seconds = wholeNumber(1, 365 * 86_400)

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
}

const BYTES = 'expected bytes, such as 1048576, 64K or 10G'

export const bytes = z.union([z.number(), z.string()], BYTES).transform((value, context) => {
  const match = /^(\d+)\s*([KMGT]?)(?:i?B)?$/i.exec(String(value).trim())
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()]
  if (match !== null && unit !== undefined) return Number(match[1]) * unit
  context.addIssue({ code: 'custom', message: BYTES })
  return z.NEVER
})

export const yesOrNo = z.union(
  [
    z.boolean(),
    z
      .string()
      .regex(/^(true|false|yes|no|on|off)$/i)
      .transform((text) => /^(true|yes|on)$/i.test(text)),
  ],
  'expected true or false',
)

export const nonEmpty = (expected: string) => z.string(expected).min(1, expected)

const URL_EXPECTED = 'expected a URL that begins with http:// or https://'

export const url = z
  .string(URL_EXPECTED)
  .refine((text) => /^https?:\/\//.test(text) && URL.canParse(text), URL_EXPECTED)

const SPAN_SECONDS: Readonly<Record<string, number>> = {
  m: 60,
  h: 3600,
  d: 86_400,
  w: 7 * 86_400,
}

/** `14d`, `12h`, `30m` or `2w`, or a number of seconds. @returns seconds */
export function span(min: number, expected: string) {
  return z.union([z.number(), z.string()], expected).transform((value, context) => {
    const [, count, unit] = /^(\d{1,6})([mhdw])$/.exec(String(value).trim()) ?? []
    const given = unit === undefined ? value : Number(count) * SPAN_SECONDS[unit]!
    if (typeof given === 'number' && Number.isInteger(given) && given >= min) return given
    context.addIssue({ code: 'custom', message: expected })
    return z.NEVER
  })
}
