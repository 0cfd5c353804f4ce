import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client, expectStatus } from '../acceptance/client.ts'
import { pushImage } from '../acceptance/images.ts'
import { startProgram } from '../durability/support/server.ts'
import { openWorkspace, until, type Workspace } from '../durability/support/workspace.ts'
import { runProgram } from './run.ts'

describe('restoring beside slipway serve on its own database', () => {
  let workspace: Workspace
  let client: Client

  beforeAll(async () => {
    workspace = await openWorkspace()
    client = new Client((await startProgram(workspace)).host)
    await until('a server that hears', () => workspace.log().includes('other processes are heard'))
  })
  afterAll(async () => {
    client.close()
    await workspace.close()
  })

  const digestOfTag = async () =>
    (await client.head('/v2/team/app/manifests/x')).headers['docker-content-digest']

  const run = async (...words: string[]) =>
    expect(await runProgram([...words, '--data', workspace.data])).toMatchObject({ status: 0 })

  it('is heard by a server that remembers what tags name', async () => {
    const first = await pushImage(client, 'team/app', 'x')
    const second = await pushImage(client, 'team/app', 'x')
    expect(await digestOfTag()).toBe(second.digest)
    await run('tag', 'restore', 'team/app:x')
    expect(await digestOfTag()).toBe(first.digest)
    expectStatus(await client.delete(`/v2/team/app/manifests/${first.digest}`), 202)
    expect(await digestOfTag()).toBeUndefined()
    await run('tag', 'restore', 'team/app:x')
    expect(await digestOfTag()).toBe(first.digest)
  })

  it('is heard by a server that remembers that a repository was not there', async () => {
    const digest = await digestOfTag()
    await run('repository', 'delete', 'team/app')
    expect(await digestOfTag()).toBeUndefined()
    await run('repository', 'restore', 'team/app')
    expect(await digestOfTag()).toBe(digest)
  })
})
