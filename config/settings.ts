import { isIP } from 'node:net'
import { z } from 'zod'
import { ACCESS_SETTINGS } from './access-settings.ts'
import { GC_SETTINGS } from './gc-settings.ts'
import { RETENTION_SETTINGS } from './retention-settings.ts'
import { S3_SETTINGS } from './s3-settings.ts'
import { SCRUB_SETTINGS } from './scrub-settings.ts'
import { bytes, nonEmpty, type Setting, seconds, wholeNumber, yesOrNo } from './setting.ts'
import { UPSTREAM_SETTINGS } from './upstream-settings.ts'

export type { Setting } from './setting.ts'

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

const LOCATION = "expected a path such as '/slipway-blobs/', with a slash at both ends"

const locationPath = z
  .string(LOCATION)
  .regex(/^\/[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*\/$/, LOCATION)

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
    text: 'Address and port.',
  },
  workers: {
    schema: wholeNumber(1, 256),
    standard: '1',
    text: 'Processes that share the port.',
  },
  ...ACCESS_SETTINGS,
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
    text: 'Most connections of one process to the database, besides one that listens where processes share it.',
  },
  'storage.type': {
    schema: z.enum(['filesystem', 's3'], { error: "expected 'filesystem' or 's3'" }),
    standard: 'filesystem',
    text: 'Where the bytes of blobs are kept.',
  },
  'storage.root': {
    schema: nonEmpty('expected a folder'),
    text: 'Folder of the blobs, laid out as registry:2 does. Without it, `registry` in the data folder.',
  },
  'storage.accelPath': {
    schema: locationPath,
    text: 'Path by which nginx, being a trusted proxy, finds the folder of the blobs by itself: it is then asked to send them (`X-Accel-Redirect`).',
  },
  ...S3_SETTINGS,
  ...UPSTREAM_SETTINGS,
  ...GC_SETTINGS,
  ...SCRUB_SETTINGS,
  ...RETENTION_SETTINGS,
  'tls.certificate': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file with the certificate and its chain. Read again when it changes.',
  },
  'tls.key': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file with the private key.',
  },
  'tls.clientAuthorities': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file of authorities. Clients must then show a certificate of one of them, besides what `auth` asks for.',
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
