import { z } from 'zod'
import { nonEmpty, type Setting, url, wholeNumber, yesOrNo } from './setting.ts'

const SERVICE = 'expected a name without quotes, such as registry.example.com'

const PASSWORD = 'expected a password of 8 to 1024 bytes'

/** Who is let in, and how. */
export const ACCESS_SETTINGS = {
  auth: {
    schema: z.enum(['none', 'token', 'external'], {
      error: "expected 'none', 'token' or 'external'",
    }),
    text: '`token`: accounts, robots and rules, and tokens of our own. `external`: tokens of another service. `none`: whoever reaches the server may push, pull and delete. When left out it is `token`, except that on loopback everything is allowed until there is an account.',
  },
  adminPassword: {
    schema: z.string(PASSWORD).min(8, PASSWORD).max(1024, PASSWORD),
    secret: true,
    text: 'Password of the user `admin`, who is made when the server starts and there is no account. Without it one is made up and printed once.',
  },
  'access.file': {
    schema: nonEmpty('expected a file'),
    text: 'YAML file of groups, grants and trusted issuers, besides those of the database. Read again when it changes.',
  },
  'access.htpasswd': {
    schema: nonEmpty('expected a file'),
    text: 'Users by an htpasswd file with bcrypt hashes, besides those of the database. Read again when it changes.',
  },
  'tokens.service': {
    schema: z.string(SERVICE).regex(/^[^"\\\s]{1,255}$/, SERVICE),
    standard: 'slipway',
    text: 'What tokens are made out to.',
  },
  'tokens.realm': {
    schema: url,
    text: 'URL where clients get tokens. Without it, `/token` at the address by which the client came.',
  },
  'tokens.seconds': {
    schema: wholeNumber(60, 3600),
    standard: '600',
    text: 'How long a token is good for. What its holder may do is looked up on each request all the same.',
  },
  'tokens.identityDays': {
    schema: wholeNumber(1, 3650),
    standard: '90',
    text: 'How long a login of Docker lasts, which keeps a token and no password. A client that stores the token it is given in the second half of that time goes on with it.',
  },
  'tokens.keyDays': {
    schema: wholeNumber(0, 3650),
    standard: '30',
    text: 'Age at which the key that signs tokens is replaced; 0 for never.',
  },
  'tokens.issuer': {
    schema: nonEmpty('expected an issuer'),
    text: 'For `auth: external`: the issuer that tokens must name.',
  },
  'tokens.jwks': {
    schema: nonEmpty('expected a URL or a file'),
    text: 'For `auth: external`: URL or file of the JSON Web Key Set that tokens are verified with.',
  },
  'tokens.rootCertificates': {
    schema: nonEmpty('expected a file'),
    text: 'For `auth: external`: PEM file of the certificates that tokens are verified with.',
  },
  'audit.pulls': {
    schema: yesOrNo,
    standard: 'false',
    text: 'Whether pulls of manifests are recorded in the audit trail as well.',
  },
  'audit.keepDays': {
    schema: wholeNumber(1, 36_500),
    standard: '90',
    text: 'Age at which audit events are deleted.',
  },
  'limits.tokenRequestsPerMinute': {
    schema: wholeNumber(1, 1_000_000),
    standard: '1200',
    text: 'Requests for tokens that one address may make of one process.',
  },
  'limits.apiRequestsPerMinute': {
    schema: wholeNumber(1, 1_000_000),
    standard: '600',
    text: 'Requests to the API that one address may make of one process.',
  },
} as const satisfies Record<string, Setting>
