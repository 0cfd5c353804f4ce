import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import type { Queryable, Transaction } from '../../storage/metadata/database.ts'
import {
  deleteRetiredKeys,
  insertSigningKey,
  readSigningKeys,
} from '../../storage/metadata/signing-keys.ts'

/** Measured beside EdDSA, with no difference; this one every library and proxy knows. */
export const ALGORITHM = 'ES256'

type Key = Awaited<ReturnType<typeof importJWK>>

/** The keys of one moment. */
export interface SigningKeys {
  readonly signing: { readonly id: string; readonly key: Key; readonly createdAt: Date }
  /** Public keys by their id, also those that sign no more. */
  readonly verifying: ReadonlyMap<string, Key>
  /** The public keys as a JSON Web Key Set. RFC 7517, section 5. */
  readonly published: { readonly keys: readonly JWK[] }
}

/** Undefined before the first was made. */
export async function loadSigningKeys(db: Queryable): Promise<SigningKeys | undefined> {
  const records = await readSigningKeys(db)
  const [newest] = records
  if (newest === undefined) return undefined
  const published: JWK[] = records.map(({ id, privateJwk }) => {
    const { kty, crv, x, y }: JWK = privateJwk
    return { kty: kty!, crv: crv!, x: x!, y: y!, kid: id, alg: ALGORITHM, use: 'sig' }
  })
  const verifying = new Map<string, Key>()
  for (const jwk of published) verifying.set(jwk.kid!, await importJWK(jwk, ALGORITHM))
  const key = await importJWK(newest.privateJwk, ALGORITHM)
  return {
    signing: { id: newest.id, key, createdAt: newest.createdAt },
    verifying,
    published: { keys: published },
  }
}

/** Makes the key that signs from now on. Older ones stay until no token of theirs can be good. */
export async function addSigningKey(tx: Transaction, tokenSeconds: number): Promise<string> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  const privateJwk = await exportJWK(privateKey)
  const id = await calculateJwkThumbprint(privateJwk)
  await insertSigningKey(tx, { id, privateJwk: { ...privateJwk } })
  await deleteRetiredKeys(tx, tokenSeconds + GRACE_SECONDS)
  return id
}

/** A process that hears late of a new key signs with the one before for a while. */
const GRACE_SECONDS = 600
