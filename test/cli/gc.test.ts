import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseTag } from '../../oci/reference.ts'
import { deleteTag } from '../../registry/tags.ts'
import { startProgram } from '../durability/support/server.ts'
import { openWorkspace } from '../durability/support/workspace.ts'
import { openStage, type Stage } from '../registry/garbage/stage.ts'
import { imageOf, pushManifest } from '../registry/push.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

let stage: Stage
let flags: string[]

beforeAll(async () => {
  stage = await openStage({})
  flags = flagsOf(stage.test.database)
})
afterAll(() => stage.test.close())

const run = (...words: string[]) => runHere(['gc', ...words, ...flags])

/** An image below the tag `old`. */
async function pushOld(text: string) {
  const repository = stage.newRepository()
  const layer = await stage.pushBlob(repository, text)
  const image = await pushManifest(stage.registry, repository, imageOf([layer], text), {
    reference: 'old',
  })
  return { repository, layer, image }
}

describe('slipway gc why', () => {
  it('tells the path from a layer to the tag, by digest and by tag', async () => {
    const { repository, layer, image } = await pushOld('cli why')
    const { stdout } = await run('why', `${repository}@${layer}`)
    expect(stdout).toBe(`blob ${layer}\n  named by ${repository}@${image}\n  tagged old\n`)
    expect((await run('why', `${repository}:old`)).stdout).toBe(`manifest ${image}\n  tagged old\n`)
  })

  it('tells until when what was deleted can be restored', async () => {
    const { repository, image } = await pushOld('cli why deleted')
    await deleteTag(stage.registry, repository, parseTag('old'), undefined)
    const { stdout } = await run('why', `${repository}@${image}`)
    expect(stdout).toMatch(/was tagged old, which can be restored until \d{4}-.*Z\ngoes at \d{4}-/)
    const [document] = documentsIn(await run('why', `${repository}@${image}`, '--json'))
    expect(document).toMatchObject({ kind: 'manifest', keeper: { kind: 'history', detail: 'old' } })
  })

  it('says what is wrong', async () => {
    await expect(run('why', 'no image')).rejects.toThrow(/expected a manifest or blob such as/)
    await expect(run('why', 'team/app@sha256:1')).rejects.toThrow(/digest/)
    await expect(run('why', 'no/such:tag')).rejects.toThrow('there is no tag no/such:tag')
  })
})

describe('slipway gc status', () => {
  it('tells what waits and what was freed', async () => {
    await pushOld('cli status')
    const { stdout } = await run('status')
    expect(stdout).toMatch(/^KIND +DUE +WAITING +FAILING +NEXT +LAST ERROR\nblob +0 +\d+/)
    expect(stdout).toMatch(/freed in 30 days: 0 B in 0 blobs, 0 manifests/)
    const [document] = documentsIn(await run('status', '--json'))
    expect(document).toMatchObject({ deleting: { blobs: 0 }, freedToday: { bytes: 0 } })
  })
})

describe('slipway gc run', () => {
  it('tells what it would free, and nothing that can be restored is among it', async () => {
    const { repository } = await pushOld('cli run')
    await stage.age(2 * 86_400)
    await deleteTag(stage.registry, repository, parseTag('old'), undefined)
    const { stdout } = await run('run', '--now', '--dry-run', repository)
    expect(stdout).toBe('would free 0 B in 0 blobs, 0 manifests\n')
    const forget = ['run', '--forget-deleted', '--dry-run', repository, '--json']
    const [document] = documentsIn(await run(...forget))
    expect(document).toEqual({ dryRun: true, manifests: 1, blobs: 1, bytes: 'cli run'.length })
    await expect(run('run', 'No Name')).rejects.toThrow(/expected a repository such as team\/app/)
  })

  it('collects without a server, and beside one has it do so', async () => {
    const workspace = await openWorkspace()
    try {
      const settings = {
        'gc.undoSeconds': '0',
        'gc.graceSeconds': '0',
        'gc.intervalSeconds': '3600',
      }
      const server = await startProgram(workspace, { settings })
      await pushTo(server.host, 'alone')
      const flagsOfServer = ['--data', workspace.data, '--gc-grace-seconds', '0']
      await server.stop()
      const alone = await runProgram(['gc', 'run', '--now', ...flagsOfServer])
      expect(alone).toMatchObject({ status: 0, stdout: 'freed 5 B in 1 blob, 0 manifests\n' })

      const again = await startProgram(workspace, {
        settings: { ...settings, 'gc.intervalSeconds': '1' },
      })
      await pushTo(again.host, 'beside')
      const beside = await runProgram(['gc', 'run', '--now', ...flagsOfServer])
      expect(beside).toMatchObject({ status: 0, stderr: 'waiting for the servers to collect …\n' })
      const status = await runProgram(['gc', 'status', '--json', ...flagsOfServer])
      expect(documentsIn(status)[0]).toMatchObject({ freedToday: { blobs: 2, bytes: 11 } })
    } finally {
      await workspace.close()
    }
  }, 60_000)
})

async function pushTo(host: string, text: string): Promise<void> {
  const digest = digestOf(Buffer.from(text))
  const url = `http://${host}/v2/cli/run/blobs/uploads/?digest=${digest}`
  expect((await fetch(url, { method: 'POST', body: text })).status).toBe(201)
}
