import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parseReference } from '../../oci/reference.ts'
import { answerJson, connect, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')

/** A helper that notes each call in a file, and does as `script` says. */
async function helper(script: string) {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-helper-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const [file, calls] = [path.join(folder, 'helper.mjs'), path.join(folder, 'calls')]
  const prelude = [
    "import { appendFileSync, readFileSync } from 'node:fs'",
    `appendFileSync(${JSON.stringify(calls)}, process.argv.at(-1) + ' ' + readFileSync(0, 'utf8'))`,
  ]
  await writeFile(file, [...prelude, script].join('\n'))
  const command = [process.execPath, file, '; touch /tmp/x', '$(exit 1)']
  return { command, calls: () => readFile(calls, 'utf8') }
}

function printing(Username: string, Secret: string): string {
  return `console.log(${JSON.stringify(JSON.stringify({ Username, Secret }))})`
}

/** A registry whose token service is its own, and takes `basic`. */
async function startRegistry(basic: string) {
  const accepted = `Basic ${Buffer.from(basic).toString('base64')}`
  return startServer(({ url, headers }, response) => {
    if (url.startsWith('/token')) {
      if (headers.authorization === accepted) return answerJson(response, 200, { token: 'one' })
      return answerJson(response, 401, { details: `not ${headers.authorization}` })
    }
    if (headers.authorization === 'Bearer one') return response.end('{}')
    const realm = `http://${headers.host}/token`
    response.setHeader('www-authenticate', `Bearer realm="${realm}",service="reg"`)
    return answerJson(response, 401, {})
  })
}

describe('a command for credentials', () => {
  it('is told the host, without a shell, and its answer is kept', async () => {
    const { command, calls } = await helper(printing('alice', 's3cret'))
    const registry = await startRegistry('alice:s3cret')
    let seconds = 0
    const client = connect(
      registry.origin,
      { credentials: { kind: 'command', command, seconds: 100 } },
      { now: () => seconds * 1000 },
    )
    await client.getManifest('a', LATEST, patiently())
    await client.getManifest('b', LATEST, patiently())
    expect(await calls()).toBe(`get ${registry.host}\n`)
    seconds = 100
    await client.getManifest('c', LATEST, patiently())
    expect(await calls()).toBe(`get ${registry.host}\n`.repeat(2))
  })

  it('is asked again when what it gave is refused', async () => {
    const { command, calls } = await helper(
      `const first = readFileSync(process.argv[1].replace('helper.mjs', 'calls'), 'utf8').split('\\n').length === 2
       console.log(JSON.stringify({ Username: 'alice', Secret: first ? 'old' : 'new' }))`,
    )
    const registry = await startRegistry('alice:new')
    const credentials = { kind: 'command', command, seconds: 100 } as const
    const client = connect(registry.origin, { credentials })
    await client.getManifest('a', LATEST, patiently())
    expect(await calls()).toBe(`get ${registry.host}\n`.repeat(2))
  })

  it('may give an identity token, which is exchanged', async () => {
    const { command } = await helper(printing('<token>', 'refresh me'))
    const registry = await startRegistry('')
    registry.handle(({ method, url, headers, body }, response) => {
      if (method === 'POST' && new URLSearchParams(body).get('refresh_token') === 'refresh me') {
        return answerJson(response, 200, { access_token: 'one' })
      }
      if (headers.authorization === 'Bearer one') return response.end('{}')
      response.setHeader(
        'www-authenticate',
        `Bearer realm="http://${headers.host}/token",service="reg"`,
      )
      return answerJson(response, url === '/token' ? 500 : 401, {})
    })
    const credentials = { kind: 'command', command, seconds: 100 } as const
    await connect(registry.origin, { credentials }).getManifest('a', LATEST, patiently())
    const exchange = registry.requests.find(({ method }) => method === 'POST')
    expect(Object.fromEntries(new URLSearchParams(exchange?.body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'refresh me',
      client_id: 'slipway',
      scope: 'repository:a:pull',
      service: 'reg',
    })
    expect(exchange?.headers.authorization).toBeUndefined()
  })

  it.each([
    ['ends badly', "console.log('s3cret'); process.exit(3)", 'it ended with 3'],
    ['is killed', "process.kill(process.pid, 'SIGTERM')", 'it ended with SIGTERM'],
    ['says nothing', '', 'its answer is not JSON'],
    ['says no JSON', "console.log('s3cret')", 'its answer is not JSON'],
    ['says too little', printing('s3cret', ''), 'its answer has no Username and Secret'],
    ['says too much', "console.log('s3cret'.repeat(20000))", 'it wrote more than 65536 bytes'],
  ])('that %s is a denial', async (_, script, why) => {
    const { command } = await helper(script)
    const registry = await startRegistry('alice:s3cret')
    const credentials = { kind: 'command', command, seconds: 100 } as const
    const client = connect(registry.origin, { credentials })
    await expect(client.getManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'denied',
      message: `up.test: the command for its credentials failed: ${why}`,
    })
  })

  it('that never ends is ended, and a denial', async () => {
    const { command } = await helper('setInterval(() => {}, 1000)')
    const registry = await startRegistry('alice:s3cret')
    const credentials = { kind: 'command', command, seconds: 100 } as const
    const client = connect(registry.origin, { credentials }, { commandMs: 500 })
    await expect(client.getManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'denied',
      message: 'up.test: the command for its credentials failed: it took longer than 0.5 s',
    })
  })

  it('that does not exist is a denial', async () => {
    const registry = await startRegistry('alice:s3cret')
    const credentials = { kind: 'command', command: ['/no/such/helper'], seconds: 1 } as const
    const client = connect(registry.origin, { credentials })
    await expect(client.getManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'denied',
      message: 'up.test: the command for its credentials failed: it cannot be run (ENOENT)',
    })
  })

  it('is not run for a token service that may not have what it gives', async () => {
    const { command, calls } = await helper(printing('alice', 's3cret'))
    const realm = await startServer((_, response) => answerJson(response, 200, { token: 'one' }), {
      address: '127.0.0.2',
    })
    const registry = await startServer(({ headers }, response) => {
      if (headers.authorization !== undefined) return response.end('{}')
      response.setHeader('www-authenticate', `Bearer realm="${realm.origin}"`)
      return answerJson(response, 401, {})
    })
    const credentials = { kind: 'command', command, seconds: 100 } as const
    await connect(registry.origin, { credentials }).getManifest('a', LATEST, patiently())
    await expect(calls()).rejects.toThrow('ENOENT')
  })
})
