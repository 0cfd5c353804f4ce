import { describe, expect, it } from 'vitest'
import { createSecret } from '../../auth/tokens/secrets.ts'
import { PASSWORDS, secretsIn } from './secrets.ts'

describe('the search for secrets in logs', () => {
  it.each([
    createSecret('robot').secret,
    createSecret('personal').secret,
    createSecret('identity').secret,
    createSecret('keyless').secret,
    'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlX2hlcmU',
    'Basic YWxpY2U6c2VjcmV0',
    '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA',
    '{"kty":"EC","d":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}',
    ...Object.values(PASSWORDS),
  ])('finds %s', (secret) => {
    expect(secretsIn(`{"msg":"x ${secret} y"}`)).not.toEqual([])
  })

  it('finds none where there is none', () => {
    const line = '{"url":"/token?account=alice&scope=repository:a:pull","address":"127.0.0.1"}'
    expect(secretsIn(line)).toEqual([])
  })
})
