import { execFileSync } from 'node:child_process'
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { KeyPair } from './signing.ts'

export const hasOpenssl = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

export interface Certificate extends KeyPair {
  readonly pem: string
  /** As an entry of `x5c`. */
  readonly entry: string
}

export interface CertificateOptions {
  readonly issuer?: Certificate
  /** basicConstraints; left out, the certificate has none. */
  readonly constraints?: string
  readonly days?: number
  readonly digest?: 'sha256' | 'sha1'
  /** Left out, the key is of P-256. */
  readonly rsaBits?: number
  /** Something to stand in the name, in front of the extensions. */
  readonly organization?: string
}

const openssl = (...args: string[]): void => {
  execFileSync('openssl', args, { stdio: 'pipe' })
}

/** Made with openssl in `folder`. Without an issuer it signs itself. */
export function createCertificate(
  folder: string,
  name: string,
  options: CertificateOptions = {},
): Certificate {
  const { issuer, constraints, days = 30, digest = 'sha256', rsaBits } = options
  const file = (ending: string): string => path.join(folder, `${name}.${ending}`)
  const newKey =
    rsaBits === undefined
      ? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
      : ['-newkey', `rsa:${rsaBits}`]
  const subject = `/O=${options.organization ?? 'Example'}/CN=${name}`
  const request = ['-out', file('csr'), '-keyout', file('key'), '-nodes', '-subj', subject]
  openssl('req', '-new', ...newKey, ...request)
  writeFileSync(
    file('ext'),
    constraints === undefined ? 'subjectKeyIdentifier=hash' : `basicConstraints=${constraints}`,
  )
  if (issuer !== undefined) {
    writeFileSync(file('ca.pem'), issuer.pem)
    writeFileSync(file('ca.key'), issuer.privateKey.export({ format: 'pem', type: 'pkcs8' }))
  }
  const signer =
    issuer === undefined
      ? ['-signkey', file('key')]
      : ['-CA', file('ca.pem'), '-CAkey', file('ca.key')]
  const serial = String(Math.floor(Math.random() * 1e9) + 1)
  const validity = ['-days', String(days), '-set_serial', serial, `-${digest}`]
  const files = ['-in', file('csr'), '-out', file('pem'), '-extfile', file('ext')]
  openssl('x509', '-req', ...files, ...signer, ...validity)
  return read(file('pem'), file('key'))
}

function read(certificate: string, key: string): Certificate {
  const pem = readFileSync(certificate, 'utf8')
  const privateKey: KeyObject = createPrivateKey(readFileSync(key))
  const entry = pem.replaceAll(/-----[^-]+-----|\s/g, '')
  return { pem, entry, privateKey, publicKey: createPublicKey(privateKey) }
}
