import { isIP } from 'node:net'
import { z } from 'zod'

const WHOLE_NUMBER = 'expected a whole number'

const wholeNumber = (min: number, max: number) =>
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

const seconds = wholeNumber(1, 365 * 86_400)

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
}

const BYTES = 'expected bytes, such as 1048576, 64K or 10G'

const bytes = z.union([z.number(), z.string()], BYTES).transform((value, context) => {
  const match = /^(\d+)\s*([KMGT]?)(?:i?B)?$/i.exec(String(value).trim())
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()]
  if (match !== null && unit !== undefined) return Number(match[1]) * unit
  context.addIssue({ code: 'custom', message: BYTES })
  return z.NEVER
})

const yesOrNo = z.union(
  [
    z.boolean(),
    z
      .string()
      .regex(/^(true|false|yes|no|on|off)$/i)
      .transform((text) => /^(true|yes|on)$/i.test(text)),
  ],
  'expected true or false',
)

const nonEmpty = (expected: string) => z.string(expected).min(1, expected)

const ADDRESS = 'expected host:port, such as 127.0.0.1:5000'

/** `host:port`, `[::1]:port`, or `:port` for every address. */
const listen = z.string(ADDRESS).transform((address, context) => {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address)
  const port = Number(match?.[3])
  if (match !== null && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port }
  context.addIssue({ code: 'custom', message: ADDRESS })
  return z.NEVER
})

const NETWORKS = 'expected addresses or networks, such as 10.0.0.0/8'

const networks = z
  .union(
    [z.array(z.string()), z.string().transform((list) => list.split(/[\s,]+/).filter(Boolean))],
    NETWORKS,
  )
  .refine((list) => list.every(isNetwork), NETWORKS)

const DATABASE_URL = 'expected a URL that begins with postgres://'

const databaseUrl = z
  .string(DATABASE_URL)
  .refine((url) => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url), DATABASE_URL)

export interface Setting {
  readonly schema: z.ZodType
  /** One sentence; docs/configuration.md is made of them. */
  readonly text: string
  /** As a person would write it; undefined when there is none. */
  readonly standard?: string
  /** Never shown, and readable from a file named by the variable with `_FILE` appended. */
  readonly secret?: true
}

/** Every setting by its key in `slipway.yml`. The variable and the flag follow from the key. */
export const SETTINGS = {
  data: {
    schema: nonEmpty('expected a folder'),
    standard: './data',
    text: 'Folder of everything the server keeps: blobs, and the embedded database.',
  },
  listen: {
    schema: listen,
    standard: '127.0.0.1:5000',
    text: 'Address and port. An address other than loopback is refused until `auth` is stated.',
  },
  workers: {
    schema: wholeNumber(1, 256),
    standard: '1',
    text: 'Processes that share the port.',
  },
  auth: {
    schema: z.enum(['none'], { error: "expected 'none'" }),
    text: 'Who may do what. `none`: whoever reaches the server may push, pull and delete.',
  },
  trustedProxies: {
    schema: networks,
    standard: '',
    text: 'Proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed: addresses or networks.',
  },
  'database.url': {
    schema: databaseUrl,
    secret: true,
    text: 'A PostgreSQL server (15 or newer) to use instead of the embedded one.',
  },
  'database.connections': {
    schema: wholeNumber(2, 1000),
    standard: '10',
    text: 'Most connections of one process to the database.',
  },
  'storage.type': {
    schema: z.enum(['filesystem'], { error: "expected 'filesystem'" }),
    standard: 'filesystem',
    text: 'Where the bytes of blobs are kept.',
  },
  'storage.root': {
    schema: nonEmpty('expected a folder'),
    text: 'Folder of the blobs, laid out as registry:2 does. Without it, `registry` in the data folder.',
  },
  'tls.certificate': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file with the certificate and its chain. Read again when it changes.',
  },
  'tls.key': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file with the private key.',
  },
  'log.level': {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      error: 'expected trace, debug, info, warn, error, fatal or silent',
    }),
    standard: 'info',
    text: 'Least severe line to write. Each request is one line of level info.',
  },
  'log.format': {
    schema: z.enum(['auto', 'pretty', 'json'], { error: 'expected auto, pretty or json' }),
    standard: 'auto',
    text: '`auto` is pretty on a terminal and JSON elsewhere.',
  },
  'log.access': {
    schema: yesOrNo,
    standard: 'true',
    text: 'Whether each request is logged.',
  },
  'limits.uploadBytes': {
    schema: bytes,
    standard: '0',
    text: 'Largest blob in bytes, such as `10G`; 0 for no limit.',
  },
  'limits.headerBytes': {
    schema: bytes.pipe(
      z
        .number()
        .min(4096, 'expected at least 4K')
        .max(2 ** 20, 'expected at most 1M'),
    ),
    standard: '32K',
    text: 'Largest head of a request in bytes.',
  },
  'limits.idleSeconds': {
    schema: seconds,
    standard: '120',
    text: 'A connection on which no byte moves for so long during a request is closed.',
  },
  'limits.uploadExpirySeconds': {
    schema: seconds,
    standard: '86400',
    text: 'An upload session that gets no byte for so long is dropped.',
  },
  'limits.drainSeconds': {
    schema: wholeNumber(0, 86_400),
    standard: '30',
    text: 'How long a stop waits for transfers under way.',
  },
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS

/** `limits.uploadBytes` is `SLIPWAY_LIMITS_UPLOAD_BYTES`. */
export function variableOf(key: string): string {
  return `SLIPWAY_${words(key).join('_').toUpperCase()}`
}

/** `limits.uploadBytes` is `limits-upload-bytes`, behind two dashes. */
export function flagOf(key: string): string {
  return words(key).join('-')
}

function words(key: string): string[] {
  return key
    .replaceAll(/([A-Z])/g, '.$1')
    .toLowerCase()
    .split('.')
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32))
}
