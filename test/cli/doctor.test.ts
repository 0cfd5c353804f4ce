import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256 } from '../acceptance/client.ts'
import { startProgram } from '../durability/support/server.ts'
import { openWorkspace, type Workspace } from '../durability/support/workspace.ts'
import { documentsIn, runHere, runProgram } from './run.ts'
import { slipway } from './slipway.ts'

let workspace: Workspace

beforeAll(async () => {
  workspace = await openWorkspace()
})
afterAll(() => workspace.close())

const doctor = (...words: string[]) => runHere(['doctor', ...words, '--data', workspace.data])

const fileOf = (digest: string) => {
  const hex = digest.slice('sha256:'.length)
  return path.join(
    workspace.storage,
    `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`,
  )
}

async function push(host: string, content: Buffer): Promise<string> {
  const digest = sha256(content)
  const url = `http://${host}/v2/cli/doctor/blobs/uploads/?digest=${digest}`
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: new Uint8Array(content),
  })
  expect(response.status).toBe(201)
  return digest
}

describe('slipway doctor', () => {
  it('finds and repairs beside a server, whose clients heal what is left', async () => {
    const server = await startProgram(workspace)
    const content = randomBytes(5000)
    const digest = await push(server.host, content)
    await push(server.host, randomBytes(10))
    const head = async () =>
      (await fetch(`http://${server.host}/v2/cli/doctor/blobs/${digest}`, { method: 'HEAD' }))
        .status
    expect(await head()).toBe(200)
    expect(await doctor()).toEqual({ status: 0, stdout: 'nothing is wrong\n', stderr: '' })

    await truncate(fileOf(digest), 7)
    const orphan = fileOf(sha256(Buffer.from('orphan')))
    await mkdir(path.dirname(orphan), { recursive: true })
    await writeFile(orphan, 'orphan')
    expect((await doctor()).stdout, 'the orphan is young').not.toContain('no row names')
    const found = await doctor('--age', '0h')
    expect(found.status).toBe(1)
    expect(found.stdout).toMatch(/^blobs of another size: 1, 5000 bytes$/m)
    expect(found.stdout).toContain('7 bytes instead of 5000')
    expect(found.stdout).toMatch(/^bytes that no row names: 1, 6 bytes$/m)
    expect(found.stdout).toMatch(/^2 left that are wrong$/m)
    expect(await head()).toBe(200)

    const words = ['--age', '0h', '--repair', '--deep', '--json', '--data', workspace.data]
    const repaired = await runProgram(['doctor', ...words])
    expect(repaired.status).toBe(0)
    expect(repaired.stderr).toBe('waiting until every server has heard of it …\n')
    expect(documentsIn(repaired)).toMatchObject([
      { kind: 'size', digest, isRepaired: true },
      { kind: 'orphan', sizeBytes: 6, isRepaired: true },
      { kind: 'summary', faultsLeft: 0, found: { size: { found: 1, repaired: 1, bytes: 5000 } } },
    ])
    expect(await head()).toBe(404)
    expect((await doctor('--repair')).status, 'it waits for a push').toBe(1)

    await push(server.host, content)
    expect(await head()).toBe(200)
    const metrics = await (await fetch(`http://${server.host}/metrics`)).text()
    expect(metrics).toMatch(/^slipway_scrub_quarantined_blobs 0$/m)
    expect(metrics).toMatch(/^slipway_scrub_bytes_total 0$/m)
    const trail = await runHere([
      'audit',
      'list',
      '--json',
      '--action',
      'doctor.repair',
      '--data',
      workspace.data,
    ])
    expect(documentsIn(trail)).toMatchObject([
      { target: workspace.storage, detail: 'nothing', result: 'done' },
      { target: workspace.storage, detail: '1 size, 1 orphan', result: 'done' },
    ])
    await server.stop()
  }, 120_000)

  it('works without a server, and tells faults from what is none', async () => {
    expect(await doctor('--deep')).toMatchObject({ status: 0, stdout: 'nothing is wrong\n' })
    const orphan = fileOf(sha256(Buffer.from('old')))
    const upload = path.join(workspace.storage, 'uploads', randomUUID())
    await writeFile(upload, 'left')
    const foreign = new Date(Date.UTC(2020, 0, 1))
    await mkdir(path.dirname(orphan), { recursive: true })
    await writeFile(orphan, 'old')
    await utimes(orphan, foreign, foreign)
    const alone = await doctor('--age', '0h', '--json')
    expect(alone.status).toBe(1)
    expect(documentsIn(alone).map(({ kind }) => kind)).toEqual(['upload', 'foreign', 'summary'])
    await rm(upload)
    const noFault = await doctor('--age', '0h')
    expect(noFault.status).toBe(0)
    expect(noFault.stdout).toMatch(/^nothing is left that is wrong$/m)
  }, 120_000)

  it('could not look: the exit code is 2', async () => {
    const away = `${workspace.storage}-away`
    await rename(workspace.storage, away)
    const empty = await doctor('--repair')
    expect(empty.status).toBe(2)
    expect(empty.stderr).toContain('could not look: no blob is there')
    await rm(workspace.storage, { recursive: true })
    await rename(away, workspace.storage)
    expect((await doctor()).status).toBe(0)

    const none = slipway(['doctor', '--data', path.join(workspace.folder, 'nowhere')])
    expect(none.status).toBe(2)
    expect(none.stderr).toContain('could not look: there is no database')
    await expect(doctor('--age', 'soon')).rejects.toThrow('expected a span')
  }, 120_000)
})
