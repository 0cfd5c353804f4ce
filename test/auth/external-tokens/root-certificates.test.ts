import { createPublicKey } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { calculateJwkThumbprint } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { libtrustFingerprint } from '../../../auth/external-tokens/public-key.ts'
import { type ExternalTokens, openExternalTokens } from '../../../auth/external-tokens.ts'
import { KeysUnavailable } from '../../../auth/tokens/token-invalid.ts'
import { type Certificate, createCertificate, hasOpenssl } from './certificates.ts'
import { claimsAt, createEcKey, ISSUER, jwkOf, keySetOf, SERVICE, signToken } from './signing.ts'
import { expectTokenInvalid, silent } from './verifier.ts'

const CA = 'critical,CA:TRUE'
const DAY_MS = 86_400_000

let folder: string
let root: Certificate
let leaf: Certificate
let tokens: ExternalTokens
/** What the verifier takes for the present. */
let now = inDays(0)

/** A little later: no certificate is valid before it is made. */
function inDays(days: number): Date {
  return new Date(Date.now() + 60_000 + days * DAY_MS)
}

const pathOf = (name: string): string => path.join(folder, name)

async function openFor(...certificates: readonly Certificate[]): Promise<ExternalTokens> {
  const rootCertificates = pathOf(`${Math.random()}.crt`)
  await writeFile(rootCertificates, certificates.map(({ pem }) => pem).join(''))
  const options = { issuer: ISSUER, service: SERVICE, rootCertificates, log: silent }
  return openExternalTokens({ ...options, now: () => now })
}

/** Signed by the first of the chain, which all go into the header. */
function signedBy(chain: readonly Certificate[], key: Certificate = chain[0]!): string {
  const x5c = chain.map(({ entry }) => entry)
  return signToken(key, { alg: 'ES256', x5c }, claimsAt(now))
}

const signedAs = (kid: string | undefined, key = root): string =>
  signToken(key, { alg: 'ES256', ...(kid !== undefined && { kid }) }, claimsAt(now))

const expectAccepted = async (token: string): Promise<void> => {
  expect((await tokens.verify(token)).subject).toBe('alice')
}
const expectRefused = (token: string, why?: string): Promise<void> =>
  expectTokenInvalid(tokens, token, why)
const create = (name: string, options: Parameters<typeof createCertificate>[2]): Certificate =>
  createCertificate(folder, name, options)

describe.runIf(hasOpenssl || process.env['CI'])(
  'a token, by root certificates (with openssl)',
  () => {
    beforeAll(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'external-tokens-'))
      root = create('root', { constraints: CA, days: 3650 })
      leaf = create('leaf', { issuer: root })
      tokens = await openFor(root)
    })

    afterAll(async () => {
      tokens?.close()
      await rm(folder, { recursive: true })
    })

    describe('with x5c', () => {
      it('is good when a root issued its certificate, whether the root is sent or not', async () => {
        await expectAccepted(signedBy([leaf]))
        await expectAccepted(signedBy([leaf, root]))
        await expectAccepted(signedBy([root]))
      })

      it('is good over intermediates, in a chain of up to five', async () => {
        const chain = [root]
        for (const name of ['a', 'b', 'c', 'd', 'e']) {
          chain.unshift(create(name, { issuer: chain[0]!, constraints: CA }))
        }
        await expectAccepted(signedBy(chain.slice(3)))
        await expectAccepted(signedBy(chain.slice(1)))
        await expectRefused(signedBy(chain), '1 to 5')
        await expectRefused(signedBy([chain[2]!]), 'none of the root')
        await expectRefused(signedBy([chain[1]!, chain[3]!]), 'not in one chain')
      })

      it('is good with an RSA key in it', async () => {
        const certificate = create('rsa', { issuer: root, rsaBits: 2048 })
        const header = { alg: 'RS256', x5c: [certificate.entry] }
        await expectAccepted(signToken(certificate, header, claimsAt(now)))
        await expectRefused(signToken(leaf, { ...header, alg: 'ES256' }, claimsAt(now)), 'not fit')
      })

      it('is refused with an authority of its own, of the same name too', async () => {
        const own = createCertificate(await mkdtemp(pathOf('own-')), 'root', { constraints: CA })
        const forged = create('forged', { issuer: own })
        await expectRefused(signedBy([own]), 'none of the root')
        await expectRefused(signedBy([forged]), 'none of the root')
        await expectRefused(signedBy([forged, own]), 'none of the root')
        await expectRefused(signedBy([forged, root]), 'not in one chain')
        await expectRefused(signedBy([forged, leaf, root]), 'not in one chain')
      })

      it('is refused with an intermediate that is no authority', async () => {
        for (const constraints of [undefined, 'critical,CA:FALSE']) {
          const name = `plain-${constraints?.length}`
          const plain = create(name, { issuer: root, ...(constraints && { constraints }) })
          const below = create('below', { issuer: plain })
          await expectRefused(signedBy([below, plain]), 'no authority')
          await expectRefused(signedBy([below, plain, root]), 'no authority')
          await expectAccepted(signedBy([plain]))
        }
      })

      it('is refused below a root that is no authority, which may only sign itself', async () => {
        const plain = create('plain-root', { constraints: 'critical,CA:FALSE' })
        const below = create('below-plain-root', { issuer: plain })
        const own = await openFor(plain)
        await expectTokenInvalid(own, signedBy([below]), 'none of the root')
        await expectTokenInvalid(own, signedBy([below, plain]), 'no authority')
        expect((await own.verify(signedBy([plain]))).subject).toBe('alice')
        own.close()
      })

      it('is refused where the chain is longer than an authority allows', async () => {
        // The same bytes in a name must not hide the real ones.
        const organization = '\u0006\u0003U\u001d\u0013'
        for (const [index, prefix] of ['critical,', ''].entries()) {
          const constraints = `${prefix}CA:TRUE,pathlen:0`
          const last = create(`last${index}`, { issuer: root, constraints, organization })
          const below = create(`below-last${index}`, { issuer: last, constraints: CA })
          const lowest = create(`lowest${index}`, { issuer: below })
          await expectAccepted(signedBy([below, last]))
          await expectRefused(signedBy([lowest, below, last]), 'longer')

          const own = await openFor(last)
          expect((await own.verify(signedBy([below]))).subject).toBe('alice')
          await expectTokenInvalid(own, signedBy([lowest, below]), 'longer')
          await expectTokenInvalid(own, signedBy([lowest, below, last]), 'longer')
          own.close()
        }
      })

      it('is refused when a certificate has expired, or is not valid yet', async () => {
        const short = create('short', { issuer: root, constraints: CA, days: 2 })
        const long = create('long', { issuer: short, days: 30 })
        const brief = create('brief', { issuer: root, days: 1 })
        await expectAccepted(signedBy([long, short]))
        await expectAccepted(signedBy([brief]))
        for (const days of [3, -1, 3700]) {
          now = inDays(days)
          await expectRefused(signedBy([long, short]), 'not valid at this time')
          await expectRefused(signedBy([brief]), 'not valid at this time')
        }
        await expectRefused(signedBy([root]), 'not valid at this time')
        now = inDays(0)
      })

      it('is refused when the root itself has expired', async () => {
        const short = create('short-root', { constraints: CA, days: 1 })
        const below = create('below-short-root', { issuer: short, days: 30 })
        const own = await openFor(short)
        expect((await own.verify(signedBy([below]))).subject).toBe('alice')
        now = inDays(2)
        await expectTokenInvalid(own, signedBy([below]), 'not valid at this time')
        now = inDays(0)
        own.close()
      })

      it('is refused when another key signed it', async () => {
        const other = create('other', {})
        await expectRefused(signedBy([leaf], other), 'signature')
        await expectRefused(signedBy([leaf, root], root), 'signature')
        const { subject } = await tokens.verify(signedBy([root], root))
        expect(subject).toBe('alice')
      })

      it('is refused with SHA-1 in the chain', async () => {
        await expectRefused(signedBy([create('sha1', { issuer: root, digest: 'sha1' })]), 'SHA-1')
      })

      it.each([
        [[]],
        ['MIIB'],
        [null],
        [{}],
        [['']],
        [[7]],
        [['bm8gY2VydGlmaWNhdGU=']],
        [[['nested']]],
      ])('is refused with %j in it', async (x5c) => {
        await expectRefused(signToken(leaf, { alg: 'ES256', x5c }, claimsAt(now)), 'x5c')
      })

      it('is refused for a bad x5c, even if its kid is good', async () => {
        const kid = libtrustFingerprint(root.publicKey)
        const header = { alg: 'ES256', kid, x5c: [] }
        await expectRefused(signToken(root, header, claimsAt(now)), 'x5c')
      })
    })

    describe('with kid', () => {
      it('is good by the thumbprint and by the libtrust fingerprint of a root', async () => {
        await expectAccepted(signedAs(libtrustFingerprint(root.publicKey)))
        const jwk = root.publicKey.export({ format: 'jwk' })
        await expectAccepted(signedAs(await calculateJwkThumbprint(jwk)))
        await expectAccepted(signedAs(undefined))
      })

      it('is refused by another name, or signed by another key', async () => {
        const kid = libtrustFingerprint(root.publicKey)
        await expectRefused(signedAs(kid.toLowerCase()), 'no key')
        await expectRefused(signedAs(kid.slice(0, -5)), 'no key')
        await expectRefused(signedAs(libtrustFingerprint(leaf.publicKey), leaf), 'no key')
        await expectRefused(signedAs(kid, leaf), 'signature')
        await expectRefused(signedAs(undefined, leaf), 'signature')
      })

      it('is good without one when one root fits', async () => {
        const own = await openFor(create('rsa-root', { rsaBits: 2048 }), root)
        expect((await own.verify(signedAs(undefined))).subject).toBe('alice')
        own.close()
        const ambiguous = await openFor(leaf, root)
        await expectTokenInvalid(ambiguous, signedAs(undefined), 'more than one')
        ambiguous.close()
      })

      it('needs no key set when a root has that name', async () => {
        const rootCertificates = pathOf('alone.crt')
        await writeFile(rootCertificates, root.pem)
        const jwks = 'http://127.0.0.1:1/keys'
        const options = { issuer: ISSUER, service: SERVICE, jwks, rootCertificates, log: silent }
        const own = await openExternalTokens(options)
        const kid = libtrustFingerprint(root.publicKey)
        expect((await own.verify(signedAs(kid))).subject).toBe('alice')
        await expect(own.verify(signedAs('other'))).rejects.toThrow(KeysUnavailable)
        own.close()
      })

      it('finds the keys of certificates and of a key set, and the same key in both', async () => {
        const jwks = pathOf('both.json')
        const rootCertificates = pathOf('both.crt')
        await writeFile(rootCertificates, root.pem)
        const options = { issuer: ISSUER, service: SERVICE, jwks, rootCertificates, log: silent }
        await writeFile(jwks, keySetOf(jwkOf(root, { kid: 'root' })))
        const same = await openExternalTokens(options)
        expect((await same.verify(signedAs(undefined))).subject).toBe('alice')
        same.close()

        const own = createEcKey()
        await writeFile(jwks, keySetOf(jwkOf(own, { kid: 'own' })))
        const both = await openExternalTokens(options)
        const token = signToken(own, { alg: 'ES256', kid: 'own' }, claimsAt(now))
        expect((await both.verify(token)).subject).toBe('alice')
        expect((await both.verify(signedBy([leaf]))).subject).toBe('alice')
        await expectTokenInvalid(both, signedAs(undefined), 'more than one')
        both.close()
      })
    })

    it('is not looked at when there is no certificate with a usable key', async () => {
      const rootCertificates = pathOf('none.crt')
      const options = { issuer: ISSUER, service: SERVICE, rootCertificates, log: silent }
      await expect(openExternalTokens(options)).rejects.toThrow('ENOENT')
      const short = create('weak', { rsaBits: 1024 })
      for (const pem of ['', 'text', root.pem.slice(0, -20), short.pem]) {
        await writeFile(rootCertificates, pem)
        await expect(openExternalTokens(options)).rejects.toThrow('no usable key')
      }
      await writeFile(rootCertificates, root.pem + root.pem.replace(/MII/, 'AAA'))
      await expect(openExternalTokens(options)).rejects.toThrow(/asn1|encoding|bad/i)
    })
  },
)

describe('the libtrust fingerprint', () => {
  it('is the first 30 bytes of the hash of the key, in base32', () => {
    // Computed with Python: base64.b32encode(hashlib.sha256(spki).digest()[:30])
    const spki = 'MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
    const key = createPublicKey({ key: Buffer.from(spki, 'base64'), format: 'der', type: 'spki' })
    expect(libtrustFingerprint(key)).toBe(
      'A3R7:3D62:FG5W:BK2Z:KV66:MHW3:BLWN:WIYR:GS7D:BZ23:IVPY:4G3Z',
    )
  })
})
