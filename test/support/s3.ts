import { describe, expect, it } from 'vitest'

/** A bucket that tests may write to; others may do so at the same time. */
export interface S3Backend {
  /** `http://127.0.0.1:7480` */
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const VARIABLE = 'SLIPWAY_TEST_S3'
const FORM = 'http://ACCESSKEY:SECRETKEY@127.0.0.1:PORT/BUCKET'
const REASON = `${VARIABLE} names no S3 server; it is to be ${FORM}`

/**
 * Undefined when the environment names none.
 *
 * @throws Error when what it says has another form; it never shows the keys
 */
export function s3Backend(): S3Backend | undefined {
  const value = process.env[VARIABLE]
  if (value === undefined || value === '') return undefined
  const url = URL.canParse(value) ? new URL(value) : undefined
  const backend = {
    endpoint: url?.origin ?? '',
    bucket: url?.pathname.slice(1) ?? '',
    accessKeyId: decodeURIComponent(url?.username ?? ''),
    secretAccessKey: decodeURIComponent(url?.password ?? ''),
  }
  const isWhole = Object.values(backend).every((part) => part !== '')
  if (!isWhole || backend.bucket.includes('/')) throw new Error(`${VARIABLE} is not ${FORM}`)
  return backend
}

/**
 * Skips the suite when there is no S3 server; with CI set that is a failure, for green must mean
 * run.
 */
export function describeWithS3(name: string, body: (backend: S3Backend) => void): void {
  const backend = s3Backend()
  const isSkipped = backend === undefined && !process.env['CI']
  const reason = isSkipped ? ` (skipped: ${REASON})` : ''
  describe.skipIf(isSkipped)(`${name}${reason}`, () => {
    if (backend === undefined) failForLackOfS3()
    else body(backend)
  })
}

function failForLackOfS3(): void {
  it('has an S3 server to run with', () => {
    expect.fail(`cannot run: ${REASON}`)
  })
}

/** The settings of a server with its blobs in the bucket of the tests, below `prefix`. */
export function s3Variables(prefix: string): Record<string, string> {
  const backend = s3Backend()
  if (backend === undefined) throw new Error(`${VARIABLE} is not set`)
  return {
    SLIPWAY_STORAGE_TYPE: 's3',
    SLIPWAY_STORAGE_S3_ENDPOINT: backend.endpoint,
    SLIPWAY_STORAGE_S3_BUCKET: backend.bucket,
    SLIPWAY_STORAGE_S3_PREFIX: prefix,
    SLIPWAY_STORAGE_S3_ACCESS_KEY_ID: backend.accessKeyId,
    SLIPWAY_STORAGE_S3_SECRET_ACCESS_KEY: backend.secretAccessKey,
  }
}
