import { type KeyObject, X509Certificate } from 'node:crypto'
import type { Logger } from 'pino'
import { WatchedFile } from '../watched-file.ts'
import { verifyChain } from './certificate-chain.ts'
import { algorithmsOf, KEYS_FILE, namesOf } from './public-key.ts'

interface RootCertificate {
  readonly certificate: X509Certificate
  /** A new object at each look otherwise, and one that jose has imported is kept by it. */
  readonly key: KeyObject
  readonly names: readonly string[]
}

/** The certificates of the token service, as `rootcertbundle` of registry:2 has them. */
export class RootCertificates {
  readonly #file: WatchedFile<readonly RootCertificate[]>

  /** @throws Error when the file cannot be read or has no certificate with a usable key */
  static async open(path: string, log: Pick<Logger, 'info' | 'warn'>): Promise<RootCertificates> {
    return new RootCertificates(await WatchedFile.open({ path, name: KEYS_FILE, parse, log }))
  }

  private constructor(file: WatchedFile<readonly RootCertificate[]>) {
    this.#file = file
  }

  close(): void {
    this.#file.close()
  }

  /** @throws TokenInvalid unless the certificates of the header lead to one of these */
  verifyChain(x5c: unknown, now: Date): KeyObject {
    const roots = this.#file.content.map(({ certificate }) => certificate)
    return verifyChain(x5c, roots, now)
  }

  /**
   * The keys of the certificates themselves that fit. A `kid` of undefined stands for any. Such
   * a key was put here to be trusted, so that the dates of its certificate say nothing about it;
   * registry:2 sees it the same way.
   */
  find(alg: string, kid: string | undefined): KeyObject[] {
    return this.#file.content
      .filter(({ key }) => algorithmsOf(key).includes(alg))
      .filter(({ names }) => kid === undefined || names.includes(kid))
      .map(({ key }) => key)
  }
}

async function parse(bytes: Buffer): Promise<RootCertificate[]> {
  const pem = bytes.toString('utf8')
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  const roots = await Promise.all(
    blocks.map(async (block) => {
      const certificate = new X509Certificate(block)
      const key = certificate.publicKey
      const usable = algorithmsOf(key).length > 0
      return { certificate, key, names: usable ? await namesOf(key) : [] }
    }),
  )
  if (!roots.some(({ names }) => names.length > 0)) {
    throw new Error('the root certificates of the token service hold no usable key')
  }
  return roots
}
