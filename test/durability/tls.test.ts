import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { type RequestOptions, request } from 'node:https'
import path from 'node:path'
import type { Certificate, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { startProgram } from './support/server.ts'
import { openWorkspace, until } from './support/workspace.ts'

const execute = promisify(execFile)

/** @returns the status of `/healthz`, and of whom the server's certificate is */
function ask(address: string, options: Pick<RequestOptions, 'cert' | 'key'> = {}) {
  const [host, port] = address.split(':')
  const target = { host, port: Number(port), path: '/healthz' }
  return new Promise<{ status: number | undefined; subject: Certificate }>((resolve, reject) => {
    const asking = request({ ...target, rejectUnauthorized: false, agent: false, ...options })
    asking.once('error', reject)
    asking.once('response', (response) => {
      const { subject } = (response.socket as TLSSocket).getPeerCertificate()
      response.resume()
      resolve({ status: response.statusCode, subject })
    })
    asking.end()
  })
}

async function makeCertificate(folder: string, name: string) {
  const certificate = path.join(folder, `${name}.pem`)
  const key = path.join(folder, `${name}.key`)
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', key, '-out', certificate]
  await execute('openssl', ['req', ...kind, '-subj', `/CN=${name}`, '-days', '2', ...files])
  return { certificate, key }
}

it('a new certificate is served without a restart, and a broken one is not', async () => {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  const served = await makeCertificate(workspace.folder, 'served')
  const next = await makeCertificate(workspace.folder, 'next')
  const settings = { 'tls.certificate': served.certificate, 'tls.key': served.key }
  const server = await startProgram(workspace, { settings })
  const subject = async () => {
    const { CN } = (await ask(server.host)).subject
    return CN
  }
  expect(await subject()).toBe('served')

  await rename(next.key, served.key)
  await rename(next.certificate, served.certificate)
  await until('the new certificate', async () => (await subject()) === 'next')

  await writeFile(served.certificate, 'not a certificate')
  await until('a complaint', () => workspace.log().includes('not usable'))
  expect(await subject()).toBe('next')
})

it('with authorities for clients only who has a certificate of theirs gets an answer', async () => {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  const [served, authority, stranger] = await Promise.all(
    ['served', 'authority', 'stranger'].map((name) => makeCertificate(workspace.folder, name)),
  )
  const settings = {
    'tls.certificate': served!.certificate,
    'tls.key': served!.key,
    'tls.clientAuthorities': authority!.certificate,
  }
  const server = await startProgram(workspace, { settings })
  const showing = (each: typeof served) =>
    ask(server.host, { cert: readFileSync(each!.certificate), key: readFileSync(each!.key) })

  expect((await showing(authority)).status).toBe(200)
  await expect(ask(server.host)).rejects.toThrow(/./)
  await expect(showing(stranger)).rejects.toThrow(/./)
  await expect(showing(served)).rejects.toThrow(/./)
})
