import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { OCI_MANIFEST } from '../acceptance/images.ts'
import { type Certificate, createCertificate } from '../auth/external-tokens/certificates.ts'
import type { Refusal } from '../support/upstream/fault.ts'
import type { Match } from '../support/upstream/fault-proxy.ts'
import { startServer } from '../upstream/server.ts'
import type { AgingStage } from './aging.ts'

export const ALWAYS = { times: Number.POSITIVE_INFINITY }

/** Of the upstream that fails. */
export const FIELDS = { freshSeconds: 300, staleSeconds: 3600 }

/** A way in which an upstream fails, and what a client is told when nothing can be served. */
export interface Failure {
  /** From now on. */
  readonly begin: (stage: AgingStage) => Promise<void> | void
  readonly status: number
  readonly code: string
  /** A part of what is told of it. */
  readonly reason: string
  /** As the upstream said. */
  readonly retryAfter?: number
  /** Whether there is never an answer, so that every request waits as long as requests do. */
  readonly isSilent?: true
  /** Whether the head of a manifest is answered as ever: then only one that is new can fail. */
  readonly isOfContent?: boolean
}

export const answering =
  (refusal: Refusal, match: Match = 'manifest') =>
  ({ proxy, failBy }: AgingStage): void =>
    failBy(proxy.answer(match, { ...refusal, ...ALWAYS }))

const GET: Match = { kind: 'manifest', method: 'GET' }

/** In place of a manifest, whose head is as it should be. */
const sending = (body: string, contentType = OCI_MANIFEST) =>
  answering({ status: 200, headers: { 'Content-Type': contentType }, body }, GET)

const DOWN = { status: 503, code: 'UNAVAILABLE' }
const ABSENT = { status: 404, code: 'MANIFEST_UNKNOWN' }
const WRONG = { ...DOWN, isOfContent: true } as const
const schema1 = JSON.stringify({ schemaVersion: 1, name: 'some/app', tag: 'latest', fsLayers: [] })
const SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
const other = JSON.stringify({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: { mediaType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
  layers: [],
})

export const FAILURES: Readonly<Record<string, Failure>> = {
  'it refuses connections': {
    begin: async ({ proxy, renew }) => {
      await proxy.stop()
      // Without a connection from before, which would break in place of being refused.
      await renew(FIELDS)
    },
    ...DOWN,
    reason: 'cannot be reached (ECONNREFUSED)',
  },
  'nobody knows its certificate': {
    begin: async ({ renew }) => {
      const { pem, privateKey } = await certify()
      const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
      const server = await startServer(() => {}, { tls: { cert: pem, key } })
      await renew({ ...FIELDS, url: server.origin })
    },
    ...DOWN,
    reason: 'the certificate is not trusted',
  },
  'it answers 401': { begin: answering({ status: 401 }), ...ABSENT, reason: '401 Unauthorized' },
  'it answers 403': { begin: answering({ status: 403 }), ...ABSENT, reason: '403 Forbidden' },
  'it answers 404': { begin: answering({ status: 404 }), ...ABSENT, reason: '404 Not Found' },
  'it answers 429': {
    begin: answering({ status: 429, retryAfter: 77 }),
    status: 429,
    code: 'TOOMANYREQUESTS',
    reason: '429 Too Many Requests',
    retryAfter: 77,
  },
  'it answers 429 to GET alone': {
    begin: answering({ status: 429, retryAfter: 77, message: 'pull rate limit reached' }, GET),
    status: 429,
    code: 'TOOMANYREQUESTS',
    reason: '429 toomanyrequests: pull rate limit reached',
    retryAfter: 77,
    isOfContent: true,
  },
  'it answers 500': {
    begin: answering({ status: 500 }),
    ...DOWN,
    reason: '500 Internal Server Error',
  },
  'it answers 500 to GET alone': {
    begin: answering({ status: 500, message: 'out of "disk"\r\nX: y' }, GET),
    ...WRONG,
    reason: '500 unknown: out of ',
  },
  'it answers 503': {
    begin: answering({ status: 503, retryAfter: 78 }),
    ...DOWN,
    reason: '503 Service Unavailable',
    retryAfter: 78,
  },
  'it does not answer': {
    begin: ({ proxy, failBy }) => failBy(proxy.hang('manifest', ALWAYS)),
    ...DOWN,
    reason: 'no answer for ',
    isSilent: true,
  },
  'it breaks off': {
    begin: ({ proxy, failBy }) => failBy(proxy.truncate(GET, { missingBytes: 10, ...ALWAYS })),
    ...WRONG,
    reason: 'the connection broke',
  },
  'it sends less than there is, and says so': {
    begin: ({ proxy, failBy }) =>
      failBy(proxy.truncate(GET, { missingBytes: 10, announced: true, ...ALWAYS })),
    ...WRONG,
    reason: 'no manifest: not JSON',
  },
  'it sends another manifest': { begin: sending(other), ...WRONG, reason: 'sent sha256:' },
  'it sends what is not JSON': {
    begin: sending('<html>Sign in</html>'),
    ...WRONG,
    reason: 'no manifest: not JSON',
  },
  'it sends a page': {
    begin: sending('<html>Sign in</html>', 'text/html'),
    ...WRONG,
    reason: 'no manifest: ',
  },
  'it calls a manifest a page': {
    begin: ({ proxy, failBy }) => {
      const headers = { 'Content-Type': 'text/html' }
      failBy(proxy.changeHeaders(GET, { headers, ...ALWAYS }))
    },
    ...WRONG,
    reason: 'no manifest: Content-Type text/html',
  },
  'it sends schema 1': {
    begin: sending(schema1, SCHEMA1),
    ...WRONG,
    reason: 'no manifest: schema version 1',
  },
  'it sends too much': {
    begin: sending(`${other.slice(0, -1)},"annotations":{"a":"${'x'.repeat(5_000_000)}"}}`),
    ...WRONG,
    reason: 'its answer is longer than 4194304 bytes',
  },
}

/** Signed by nobody else. */
async function certify(): Promise<Certificate> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-failures-'))
  try {
    return createCertificate(folder, 'unknown')
  } finally {
    await rm(folder, { recursive: true })
  }
}
