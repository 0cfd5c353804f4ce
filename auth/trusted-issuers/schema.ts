import { z } from 'zod'
import { ACTIONS } from '../rules/grant.ts'
import { parseProviderUrl } from './provider-url.ts'
import { PLACEHOLDER } from './rules.ts'

const NAME = "expected 1 to 40 of 'a-z', '0-9' and '-'"
const ISSUER = 'expected a URL with https (http on loopback only), without user, query and fragment'
const AUDIENCE = 'expected the audience tokens are made out to, such as the URL of this registry'
const CLAIMS = 'expected at least one claim and its glob: a rule without would match every token'
const CLAIM_GLOBS = 'expected a glob, or several'
const STARS = "'***' is no wildcard: '*' stands for anything but a slash, '**' for anything"
const REPOSITORIES =
  "expected globs of repositories: 'a-z', '0-9', '.', '_', '/', '-', '*' and {claim}"
const TAGS = "expected globs of tags: 'A-Z', 'a-z', '0-9', '.', '_', '-', '*' and {claim}"
const ACTION = `expected one or more of ${ACTIONS.join(', ')}`
const SECONDS = 'expected seconds, 60 to 3600'

const claimGlob = z.string(CLAIM_GLOBS).refine(hasNoThreeStars, STARS)

const claims = z.preprocess(
  (value, context) => {
    // A record leaves this key out without a word, and with it the condition.
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')) {
      context.addIssue({ code: 'custom', message: "'__proto__' is not the name of a claim" })
    }
    return value
  },
  z
    .record(
      z.string().min(1, 'expected the name of a claim'),
      z.union([claimGlob, z.array(claimGlob).min(1, CLAIM_GLOBS)], CLAIM_GLOBS),
      CLAIMS,
    )
    .refine((record) => Object.keys(record).length > 0, CLAIMS),
)

const rule = z.strictObject({
  claims,
  repositories: globs(/^[a-z0-9._/*-]*$/, REPOSITORIES),
  tags: globs(/^[A-Za-z0-9._*-]*$/, TAGS).optional(),
  actions: z.array(z.enum(ACTIONS, ACTION), ACTION).min(1, ACTION),
  seconds: z.int(SECONDS).min(60, SECONDS).max(3600, SECONDS).default(600),
})

/** One {@link TrustedIssuer} as it is written in a file. That names are unique is for the list. */
export const issuerSchema = z.strictObject({
  name: z.string(NAME).regex(/^[a-z0-9-]{1,40}$/, NAME),
  issuer: z.string(ISSUER).refine(isIssuerUrl, ISSUER),
  audience: z.string(AUDIENCE).min(1, AUDIENCE),
  rules: z.array(rule, 'expected rules').min(1, 'expected at least one rule'),
})

function globs(legal: RegExp, message: string) {
  return z
    .array(
      z
        .string(message)
        .refine((glob) => glob !== '' && legal.test(glob.replaceAll(PLACEHOLDER, '')), message)
        .refine(hasNoThreeStars, STARS),
      message,
    )
    .min(1, message)
}

function hasNoThreeStars(glob: string): boolean {
  return !glob.includes('***')
}

/** OpenID Connect Discovery 1.0, section 2: no query and no fragment. */
function isIssuerUrl(text: string): boolean {
  return parseProviderUrl(text) !== undefined && !/[?#\s]/.test(text)
}
