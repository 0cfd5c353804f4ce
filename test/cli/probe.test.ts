import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeWithS3, s3Backend, s3Variables } from '../support/s3.ts'
import { openS3Store } from '../support/s3-store.ts'
import { slipway } from './slipway.ts'

const PROBE = ['config', 'check', '--probe']
const STEPS = ['uploaded an object in parts', 'read it back', 'read a range of it', 'deleted it']

describe('config check --probe', () => {
  it('tries a folder', () => {
    const { status, stderr } = slipway(PROBE)
    expect(stderr).toContain('the configuration is usable')
    for (const step of STEPS) expect(stderr).toContain(`storage: ${step}`)
    expect(status).toBe(0)
  })

  it('says which folder cannot be used, and why', () => {
    const root = '/dev/null/nowhere'
    const { status, stderr } = slipway([...PROBE, '--storage-root', root])
    expect(stderr).toContain('ENOTDIR')
    expect(status).toBe(1)
  })

  it('says that a database does not answer', () => {
    const url = 'postgres://nobody:secret@127.0.0.1:9/none'
    const { status, stderr } = slipway([...PROBE, '--database-url', url])
    expect(stderr).toMatch(/database: does not answer\n {2}because: .*ECONNREFUSED/)
    expect(stderr).not.toContain('secret')
    expect(status).toBe(1)
  })

  it('is not run without the switch', () => {
    const data = path.join(tmpdir(), randomUUID())
    expect(slipway(['config', 'check', '--data', data]).status).toBe(0)
    expect(existsSync(data)).toBe(false)
  })
})

describeWithS3('config check --probe of an object storage', () => {
  it('tries all that pushes, pulls and sweeps need, and leaves nothing', async () => {
    const opened = openS3Store()
    const { status, stderr } = slipway(PROBE, { environment: s3Variables(opened.settings.prefix) })
    for (const step of [...STEPS, 'looked for leftovers']) expect(stderr).toContain(step)
    expect(status).toBe(0)
    expect(await opened.contents()).toEqual({ objects: [], multiparts: [] })
    await opened.close()
  })

  const wrong: [string, Record<string, string>, RegExp][] = [
    ['a wrong secret key', { SECRET_ACCESS_KEY: 'wrong' }, /the secret key is wrong/],
    ['an unknown access key', { ACCESS_KEY_ID: 'nobody' }, /(?:access|secret) key/],
    ['a bucket that is not there', { BUCKET: randomUUID() }, /the bucket does not exist/],
    ['an endpoint that is not there', { ENDPOINT: 'http://127.0.0.1:9' }, /cannot be reached/],
  ]

  it.each(wrong)('says what is wrong: %s', (_what, change, words) => {
    const prefixed = Object.entries(change).map(([name, value]) => [
      `SLIPWAY_STORAGE_S3_${name}`,
      value,
    ])
    const environment = { ...s3Variables('probe'), ...Object.fromEntries(prefixed) }
    const { status, stdout, stderr } = slipway(PROBE, { environment })
    expect(stderr).toMatch(words)
    expect(status).toBe(1)
    expect(stdout + stderr).not.toContain(s3Backend()?.secretAccessKey)
  })
})
