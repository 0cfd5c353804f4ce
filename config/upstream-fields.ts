import { z } from 'zod'
import { RegistryError } from '../oci/errors.ts'
import { checkRepositoryGlob } from '../oci/glob.ts'
import { isRepositoryName } from '../oci/reference.ts'
import { bytes, nonEmpty, type Setting, wholeNumber, yesOrNo } from './setting.ts'

const URL_EXPECTED =
  'expected a URL such as https://registry.example.com, without a path or a user name'

/** Without a slash at its end. */
const origin = z.string(URL_EXPECTED).transform((text, context) => {
  const url = /^https?:\/\/[^/]/i.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && url.href === `${url.origin}/`) return url.origin
  context.addIssue({ code: 'custom', message: URL_EXPECTED })
  return z.NEVER
})

/** A list, or a text with commas or spaces between its items. */
const listOf = (expected: string, isItem: (text: string) => boolean) =>
  z
    .union(
      [z.array(z.string()), z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean))],
      expected,
    )
    .refine((list) => list.every(isItem), expected)
    .transform((list) => [...new Set(list)])

const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::\d{1,5})?$/i

const hosts = listOf('expected hosts, such as docker.io or registry.example.com:5000', (text) =>
  HOST.test(text),
).transform((list) => list.map((host) => host.toLowerCase()))

const globs = listOf('expected globs of repositories, such as library/**', isGlob)

function isGlob(text: string): boolean {
  try {
    checkRepositoryGlob(text)
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

const PREFIX = 'expected the beginning of repository names, such as mirrors/hub'

const COMMAND = 'expected a program and its arguments'

const command = z
  .union(
    [z.array(z.string().min(1)), z.string().transform((text) => text.split(/\s+/).filter(Boolean))],
    COMMAND,
  )
  .refine((words) => words.length > 0, COMMAND)

const VARIABLE = 'expected the name of a variable, which must not begin with SLIPWAY_'

const YEAR_SECONDS = 365 * 86_400

const seconds = wholeNumber(0, YEAR_SECONDS)

/** What is said of one upstream, by the key below its name. */
export const UPSTREAM_FIELDS = {
  url: {
    schema: origin,
    text: 'Where its API is. Without it, `https://` and the name; of `docker.io`, `https://registry-1.docker.io`.',
  },
  hosts: {
    schema: hosts,
    text: 'Hosts in names of images that it stands for, as `host` or `host:port`. Without them, the name; of `docker.io`, `registry-1.docker.io` and `index.docker.io` too.',
  },
  prefix: {
    schema: z.string(PREFIX).refine(isRepositoryName, PREFIX),
    text: 'How names of its repositories begin here, besides with its own name.',
  },
  plain: {
    schema: yesOrNo,
    text: 'Whether it answers for names without a prefix that are not hosted here, as the `registry-mirrors` of Docker ask. One upstream at most; without it, `docker.io`.',
  },
  library: {
    schema: yesOrNo,
    text: 'Whether `alpine` is `library/alpine` there. Without it, of `docker.io` alone.',
  },
  username: {
    schema: nonEmpty('expected a user name'),
    text: 'Whom to log in as; a password goes with it.',
  },
  password: {
    schema: nonEmpty('expected a password, in quotes'),
    secret: true,
    text: 'The password.',
  },
  passwordFile: {
    schema: nonEmpty('expected a file'),
    text: 'Or a file that holds it.',
  },
  passwordVariable: {
    schema: z.string(VARIABLE).regex(/^(?!SLIPWAY_)[A-Za-z_]\w*$/, VARIABLE),
    text: 'Or the variable that holds it, in the environment of the server.',
  },
  credentialCommand: {
    schema: command,
    text: 'Instead of all that, a program that answers as a `docker-credential-…` does, with its arguments.',
  },
  credentialSeconds: {
    schema: wholeNumber(1, YEAR_SECONDS),
    standard: '600',
    text: 'How long what it answered is good for.',
  },
  realms: {
    schema: hosts,
    text: 'Hosts, besides its own, whose token service may get the credentials. Without them, `auth.docker.io` for Docker Hub and `gitlab.com` for `registry.gitlab.com`.',
  },
  ca: {
    schema: nonEmpty('expected a file'),
    text: 'PEM file of certificates to trust for it, besides those of the system.',
  },
  privateAddresses: {
    schema: yesOrNo,
    standard: 'false',
    text: 'Whether it, its token service and where it redirects to may have addresses that are not public.',
  },
  freshSeconds: {
    schema: seconds,
    standard: '300',
    text: 'For how long a tag is not asked for again.',
  },
  staleSeconds: {
    schema: seconds,
    standard: '2592000',
    text: 'For how long after the upstream was asked with success a tag is served when it fails.',
  },
  negativeSeconds: {
    schema: seconds,
    standard: '60',
    text: 'For how long what the upstream does not have is not asked for again.',
  },
  maxBytes: {
    schema: bytes,
    standard: '0',
    text: 'Bytes of blobs to keep, such as `50G`; what was not used for longest goes first. 0 for no cap.',
  },
  concurrency: {
    schema: wholeNumber(1, 1000),
    standard: '4',
    text: 'Blobs that one process fetches at a time, and as many manifests.',
  },
  reserve: {
    schema: wholeNumber(0, 1_000_000),
    standard: '10',
    text: 'With fewer requests left of its rate limit, tags that are kept are not asked for again.',
  },
  allow: {
    schema: globs,
    standard: '**',
    text: 'Repositories of it that may be asked for, as they are called there.',
  },
  deny: {
    schema: globs,
    standard: '',
    text: 'Repositories that are never asked for.',
  },
} as const satisfies Record<string, Setting>

export type UpstreamField = keyof typeof UPSTREAM_FIELDS

export type UpstreamValue<Field extends UpstreamField> = z.output<
  (typeof UPSTREAM_FIELDS)[Field]['schema']
>

export function isUpstreamField(key: string): key is UpstreamField {
  return Object.hasOwn(UPSTREAM_FIELDS, key)
}
