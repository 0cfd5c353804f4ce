import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ServerProcess, startProgram } from '../durability/support/server.ts'
import { openWorkspace, until, type Workspace } from '../durability/support/workspace.ts'
import { logIn, statusWith } from './http.ts'
import { runProgram } from './run.ts'

describe('commands beside slipway serve on its own database', () => {
  let workspace: Workspace
  let server: ServerProcess

  beforeAll(async () => {
    workspace = await openWorkspace()
    server = await startProgram(workspace)
  })
  afterAll(() => workspace.close())

  it('work on that database, and the server goes by them', async () => {
    const { host } = server
    const add = ['user', 'add', '--password-stdin', '--data', workspace.data]
    const first = await runProgram([...add, 'alice', '--admin'], 'correct horse')
    expect(first).toMatchObject({ status: 0, stderr: '' })
    expect(await runProgram([...add, 'bob'], 'battery staple')).toMatchObject({ status: 0 })
    await until('a server that hears', () => workspace.log().includes('other processes are heard'))
    const { status, token } = await logIn(host, 'bob', 'battery staple')
    expect(status).toBe(200)
    expect(await statusWith(host, token)).toBe(200)

    const disabled = await runProgram(['user', 'disable', 'bob', '--data', workspace.data])
    expect(disabled.stderr).toBe('waiting until every server has heard of it …\n')
    expect(disabled.status).toBe(0)
    expect(await statusWith(host, token)).toBe(401)
    expect((await logIn(host, 'bob', 'battery staple')).status).toBe(401)
    expect((await logIn(host, 'alice', 'correct horse')).status).toBe(200)
    expect(server.hasExited()).toBe(false)
  })
})
