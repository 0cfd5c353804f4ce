import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseReference } from '../../oci/reference.ts'
import { answerJson, connect, patiently, startServer } from './server.ts'

const execute = promisify(execFile)
const LATEST = parseReference('latest')
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

describe('an upstream over TLS', () => {
  let folder = ''
  let ca = ''

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'slipway-tls-'))
    const files = ['-keyout', 'ca.key', '-out', 'ca.pem']
    await openssl('req', '-x509', ...EC, '-subj', '/CN=Test CA', '-days', '2', ...files)
    ca = await readFile(path.join(folder, 'ca.pem'), 'utf8')
  })

  afterAll(() => rm(folder, { recursive: true }))

  function openssl(...args: string[]) {
    return execute('openssl', args, { cwd: folder })
  }

  /** @param names as `IP:127.0.0.1` */
  async function certify(name: string, names: string) {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`]
    await openssl('req', ...EC, '-subj', `/CN=${name}`, ...files)
    await writeFile(path.join(folder, `${name}.ext`), `subjectAltName=${names}\n`)
    const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial']
    const request = ['-req', '-in', `${name}.csr`, '-out', `${name}.pem`, '-days', '2']
    await openssl('x509', ...request, ...signer, '-extfile', `${name}.ext`)
    const [cert, key] = await Promise.all(
      ['pem', 'key'].map((end) => readFile(path.join(folder, `${name}.${end}`), 'utf8')),
    )
    return { cert: cert!, key: key! }
  }

  it('is asked when its certificate is of an authority that is trusted for it', async () => {
    const tls = await certify('good', 'IP:127.0.0.1')
    const registry = await startServer((_, response) => response.end('{}'), { tls })
    await connect(registry.origin, { ca }).getManifest('a', LATEST, patiently())
    expect(registry.requests).toHaveLength(1)
  })

  it('is not asked when nobody knows who issued its certificate', async () => {
    const tls = await certify('unknown', 'IP:127.0.0.1')
    const registry = await startServer((_, response) => response.end('{}'), { tls })
    await expect(
      connect(registry.origin).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({
      reason: 'unavailable',
      message: expect.stringMatching(/^up\.test: the certificate is not trusted \([A-Z_]+\)$/),
    })
    expect(registry.requests).toEqual([])
  })

  it('is not asked when its certificate is for another', async () => {
    const tls = await certify('other', 'IP:127.0.0.9,DNS:example.com')
    const registry = await startServer((_, response) => response.end('{}'), { tls })
    await expect(
      connect(registry.origin, { ca }).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: the certificate is not trusted (ERR_TLS_CERT_ALTNAME_INVALID)',
    })
    expect(registry.requests).toEqual([])
  })

  it('does not redirect to http', async () => {
    const tls = await certify('redirecting', 'IP:127.0.0.1')
    const plain = await startServer((_, response) => response.end('{}'))
    const location = `${plain.origin}/x`
    const registry = await startServer(
      (_, response) => response.writeHead(307, { location }).end(),
      { tls },
    )
    await expect(
      connect(registry.origin, { ca }).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: redirects from https to http',
    })
    expect(plain.requests).toEqual([])
  })

  it('has no token service over http', async () => {
    const tls = await certify('challenging', 'IP:127.0.0.1')
    const plain = await startServer((_, response) => answerJson(response, 200, { token: 'one' }))
    const registry = await startServer(
      (_, response) => {
        response.setHeader('www-authenticate', `Bearer realm="${plain.origin}/token"`)
        answerJson(response, 401, {})
      },
      { tls },
    )
    const credentials = { kind: 'password', username: 'alice', password: 's3cret' } as const
    await expect(
      connect(registry.origin, { ca, credentials }).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({
      reason: 'invalid',
      message: `up.test: its token service at ${plain.host} is not over https`,
    })
    expect(plain.requests).toEqual([])
  })

  it('is not one that speaks plainly', async () => {
    const registry = await startServer((_, response) => response.end('{}'))
    const url = registry.origin.replace('http:', 'https:')
    await expect(connect(url).getManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'unavailable',
      message: expect.stringMatching(/^up\.test: cannot be reached \(\w+\)$/),
    })
  })

  it('needs certificates to trust', () => {
    expect(() => connect('https://127.0.0.1', { ca: 'garbage' })).toThrow('no certificate in PEM')
  })
})
