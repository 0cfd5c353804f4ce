import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TrustedIssuer, TrustedIssuers } from '../../../auth/trusted-issuers.ts'
import { openPool } from '../../../storage/metadata/database.ts'
import {
  insertUsedAssertion,
  pruneUsedAssertions,
} from '../../../storage/metadata/used-assertions.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { OidcProvider } from '../../support/oidc-provider.ts'

let database: TestDatabase
let provider: OidcProvider

beforeAll(async () => {
  database = await openTestDatabase()
  provider = await OidcProvider.open()
})

afterAll(async () => {
  await provider.close()
  await database.close()
})

function openReplica(db = database.pool, repositoryOwner = 'acme'): TrustedIssuers {
  const issuer: TrustedIssuer = {
    name: 'forge',
    issuer: provider.issuer,
    audience: provider.audience,
    rules: [
      {
        claims: { repository_owner: repositoryOwner },
        repositories: ['**'],
        actions: ['pull'],
        seconds: 600,
      },
    ],
  }
  return new TrustedIssuers({ issuers: () => [issuer], db, log: pino({ level: 'silent' }) })
}

const USED = { name: 'TokenInvalid', message: 'the token was used before' }

describe('a token that was used', () => {
  it('is refused from then on, by every replica', async () => {
    const pool = openPool({ connection: database.connection, size: 2, onError: () => {} })
    try {
      const token = await provider.issue()
      await openReplica(pool).exchange(token)
      await expect(openReplica().exchange(token)).rejects.toMatchObject(USED)
      await expect(openReplica(pool).exchange(token)).rejects.toMatchObject(USED)
    } finally {
      await pool.end()
    }
  })

  it('twenty times at once on two replicas is accepted once', async () => {
    const token = await provider.issue()
    const replicas = [openReplica(), openReplica()]
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => replicas[index % 2]!.exchange(token)),
    )
    const refusals = results.filter((result) => result.status === 'rejected')
    expect(refusals).toHaveLength(19)
    for (const { reason } of refusals) expect(reason).toMatchObject(USED)
  })

  it('is refused in other words as well', async () => {
    const trusted = openReplica()
    const token = await provider.issue()
    await expect(trusted.exchange(nonCanonical(token))).rejects.toThrow(/not a signed JWT/)
    await trusted.exchange(token)
    await expect(trusted.exchange(otherSignature(token))).rejects.toMatchObject(USED)
    await expect(trusted.exchange(nonCanonical(token))).rejects.toThrow(/not a signed JWT/)
    // Another signature is as good as the first, or the test above would mean nothing.
    await expect(trusted.exchange(otherSignature(await provider.issue()))).resolves.toBeDefined()
  })

  it('is another one than the next of the same job', async () => {
    const trusted = openReplica()
    await trusted.exchange(await provider.issue())
    await expect(trusted.exchange(await provider.issue())).resolves.toBeDefined()
  })

  it('is not one that was refused', async () => {
    const token = await provider.issue()
    const stricter = openReplica(database.pool, 'other')
    await expect(stricter.exchange(token)).rejects.toThrow(/no rule matches/)
    await expect(openReplica().exchange(token)).resolves.toBeDefined()
  })

  it('is forgotten an hour after it expired', async () => {
    const minutes = [-61, -59, 5]
    const hashes = minutes.map((minute) => Buffer.from(`expires in ${minute}`))
    for (const [index, minute] of minutes.entries()) {
      const expiresAt = new Date(Date.now() + minute * 60_000)
      await insertUsedAssertion(database.pool, { hash: hashes[index]!, expiresAt })
    }
    await pruneUsedAssertions(database.pool)
    const expiresAt = new Date()
    const inserted = hashes.map((hash) => insertUsedAssertion(database.pool, { hash, expiresAt }))
    expect(await Promise.all(inserted)).toEqual([true, false, false])
  })
})

/** The order of P-256's base point: FIPS 186-5, through SP 800-186, section 3.2.1.3. */
const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')

/** The same token, signed with (r, -s) in place of (r, s). */
function otherSignature(token: string): string {
  const end = token.lastIndexOf('.') + 1
  const hex = Buffer.from(token.slice(end), 'base64url').toString('hex')
  const s = (ORDER - BigInt(`0x${hex.slice(64)}`)).toString(16).padStart(64, '0')
  return token.slice(0, end) + Buffer.from(hex.slice(0, 64) + s, 'hex').toString('base64url')
}

/** The same bytes, written with another last character. */
function nonCanonical(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(token.slice(-1))
  return token.slice(0, -1) + alphabet.charAt(last + 1)
}
