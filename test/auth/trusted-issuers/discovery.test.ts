import { describe, expect, it } from 'vitest'
import { discoveryUrlOf, keysUrlOf } from '../../../auth/trusted-issuers/discovery.ts'

const ISSUER = 'https://forge.example'

describe('the discovery document', () => {
  it.each([
    [ISSUER, `${ISSUER}/.well-known/openid-configuration`],
    [`${ISSUER}/`, `${ISSUER}/.well-known/openid-configuration`],
    [`${ISSUER}/realms/x`, `${ISSUER}/realms/x/.well-known/openid-configuration`],
  ])('of %s is below it', (issuer, url) => {
    expect(discoveryUrlOf(issuer).href).toBe(url)
  })

  it.each([
    [ISSUER, 'https://keys.example/jwks?a=b'],
    ['http://127.0.0.1:8080', 'http://[::1]:8081/keys'],
    ['http://localhost', 'https://keys.example/jwks'],
  ])('of %s may lead to %s', (issuer, url) => {
    expect(keysUrlOf({ issuer, jwks_uri: url }, issuer).href).toBe(url)
  })

  it.each([
    'http://forge.example/keys',
    'http://127.0.0.1/keys',
    'http://localhost:9000/keys',
    'http://[::1]/keys',
    'file:///etc/hostname',
    'data:application/json,{}',
    'https://a:b@forge.example/keys',
    '/keys',
    [`${ISSUER}/keys`],
    undefined,
  ])('does not lead from an issuer elsewhere to %s', (url) => {
    expect(() => keysUrlOf({ issuer: ISSUER, jwks_uri: url }, ISSUER)).toThrow(
      /no jwks_uri over https|leads to loopback/,
    )
  })

  it.each([
    `${ISSUER}/`,
    'https://FORGE.example',
    'https://elsewhere.example',
    [ISSUER],
    undefined,
  ])('says exactly which issuer it is of, not %s', (issuer) => {
    const document = { issuer, jwks_uri: `${ISSUER}/keys` }
    expect(() => keysUrlOf(document, ISSUER)).toThrow(/of another issuer/)
  })

  it.each([null, undefined, 'text', 7])('is not %s', (document) => {
    expect(() => keysUrlOf(document, ISSUER)).toThrow(/no discovery document/)
  })
})
