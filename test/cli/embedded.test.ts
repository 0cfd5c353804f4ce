import { existsSync } from 'node:fs'
import { chown, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorkspace, type Workspace } from '../durability/support/workspace.ts'
import { documentsIn, type Outcome, runHere, runProgram } from './run.ts'

let workspace: Workspace
let flags: string[]

beforeAll(async () => {
  workspace = await openWorkspace()
  flags = ['--data', workspace.data]
})

afterAll(() => workspace.close())

/** With the database of the folder, where no server runs. */
const run = (...words: string[]): Promise<Outcome> => runHere([...words, ...flags])

describe('commands without a server', () => {
  it('look for no database that is not there', async () => {
    const elsewhere = path.join(workspace.folder, 'nowhere')
    const { status, stderr } = await runProgram(['user', 'list', '--data', elsewhere])
    expect(stderr).toBe(
      `slipway: there is no database in ${elsewhere}: name its folder (--data) or URL\n`,
    )
    expect(status).toBe(1)
    expect(existsSync(elsewhere)).toBe(false)
  })

  it.runIf(process.geteuid?.() === 0)('leave one alone that root would take away', async () => {
    const data = path.join(workspace.folder, 'of another user')
    const cluster = path.join(data, 'postgres', 'cluster')
    await mkdir(cluster, { recursive: true })
    await chown(cluster, 4242, 4242)
    await expect(runHere(['user', 'list', '--data', data])).rejects.toThrow(
      `the database in ${data} belongs to uid 4242: run this as that user`,
    )
    expect(await readdir(data)).toEqual(['postgres'])
    expect((await stat(cluster)).uid).toBe(4242)
  })

  it('begin with a user that administers', async () => {
    await expect(run('robot', 'add', 'first')).rejects.toThrow('unsupported')
    const words = ['user', 'add', 'alice', '--admin', '--password-stdin', ...flags]
    const added = await runProgram(words, 'correct horse')
    expect(added.stderr).toBe('')
    expect(added.stdout).toMatch(/^admin +yes$/m)
    expect(added.status).toBe(0)
    const again = await runProgram(words, 'correct horse')
    expect(again).toMatchObject({ status: 1, stderr: 'slipway: the name alice is taken\n' })
  })

  it('change accounts', async () => {
    await run('user', 'add', 'bob')
    const changes = ['--admin', '--expires', '2100-01-31', '--description', 'from the south']
    expect((await run('user', 'change', 'bob', ...changes)).stderr).toBe('')
    const [bob] = documentsIn(await run('user', 'show', 'bob', '--json'))
    expect(bob).toMatchObject({
      admin: true,
      expiresAt: '2100-01-31T00:00:00.000Z',
      description: 'from the south',
    })
    const password = await run('user', 'change', 'bob', '--password', '--never-expires')
    expect(password.stdout).toMatch(/The password of bob is shown only here:\n\n {2}\S{24}\n/)
    expect(password.stdout).toMatch(/^expires +never$/m)
    expect((await run('user', 'disable', 'bob')).stdout).toMatch(/^state +disabled$/m)
    expect((await run('user', 'enable', 'bob')).stdout).toMatch(/^state +active$/m)
    expect((await run('user', 'remove', 'bob')).stdout).toBe('removed user bob\n')
    await expect(run('user', 'remove', 'alice')).rejects.toMatchObject({
      details: ['no administrator would be left'],
    })
    const users = documentsIn(await run('user', 'list', '--json'))
    expect(users.map(({ name }) => name)).toEqual(['alice'])
  })

  it('renew the secret of a robot', async () => {
    const [added] = documentsIn(await run('robot', 'add', 'ci', '--json'))
    const [renewed] = documentsIn(await run('robot', 'renew', 'ci', '--json'))
    expect(renewed?.['secret']).toMatch(/^slipr_\S{43}$/)
    expect(renewed?.['secret']).not.toBe(added?.['secret'])
  })

  it('grant, explain and take back', async () => {
    await run('group', 'add', 'team', '--description', 'the team')
    await run('group', 'join', 'team', 'ci')
    expect((await run('group', 'list')).stdout).toMatch(/^team +1 +the team$/m)
    const push = ['access', 'explain', 'ci', 'push', 'team/x:v1']
    expect(await run(...push)).toMatchObject({ status: 1, stdout: 'denied: no grant allows it\n' })

    const added = await run('grant', 'add', 'group:team', 'pull,push', 'team/**', '--json')
    const [{ id } = {}] = documentsIn(added)
    const allowed = await run(...push)
    expect(allowed).toMatchObject({
      status: 0,
      stdout: `allowed: grant ${String(id)}: allow group:team pull, push on team/**\n`,
    })
    const deny = ['everyone', 'push,delete', '**', '--tags', 'v*', '--deny']
    const [{ id: denial } = {}] = documentsIn(await run('grant', 'add', ...deny, '--json'))
    expect((await run(...push)).stdout).toBe(
      `denied: grant ${String(denial)}: deny everyone push, delete on **, tags v*\n`,
    )
    await run('grant', 'change', String(denial), '--tags', 'release-*', '--actions', 'delete')
    expect((await run(...push)).status).toBe(0)
    await run('group', 'leave', 'team', 'ci')
    expect((await run(...push)).status).toBe(1)
    await run('grant', 'remove', String(denial))
    const left = documentsIn(await run('grant', 'list', '--json'))
    expect(left.map((grant) => grant['id'])).toEqual([id])
  })

  it('list the grants of the access file with those of the database', async () => {
    const file = path.join(workspace.folder, 'access.yml')
    await writeFile(file, 'grants:\n  - { repositories: open/**, allow: { everyone: [pull] } }\n')
    await run('grant', 'add', 'everyone', 'pull', 'public/**')
    const listed = await run('grant', 'list', 'everyone', '--access-file', file)
    const [titles, ofFile, stored, ...rest] = listed.stdout.trimEnd().split('\n')
    expect(titles).toMatch(/^ID +EFFECT +SUBJECT +ACTIONS +REPOSITORIES +TAGS +DESCRIPTION$/)
    expect(ofFile).toMatch(/^access file, grant 1 +allow +everyone +pull +open\/\*\* +- +-$/)
    expect(stored).toMatch(/^\d+ +allow +everyone +pull +public\/\*\* +- +-$/)
    expect(rest).toEqual([])
    const explained = await run(
      'access',
      'explain',
      'anonymous',
      'pull',
      'open/x',
      '--access-file',
      file,
    )
    expect(explained.stdout).toMatch(/^allowed: access file, grant 1: /)
  })

  it('make and end personal tokens', async () => {
    const narrowed = ['--repositories', 'team/**', '--actions', 'pull', '--expires', '30d']
    const added = await run('token', 'add', 'alice', 'laptop', ...narrowed)
    expect(added.stdout).toMatch(/^at most +pull on team\/\*\*$/m)
    expect(added.stdout).toMatch(/^ {2}slipp_\S{43}$/m)
    const [token] = documentsIn(await run('token', 'list', 'alice', '--json'))
    expect(token).toMatchObject({
      name: 'laptop',
      coverage: [{ repositories: ['team/**'], actions: ['pull'] }],
    })
    await run('token', 'remove', 'alice', String(token?.['id']))
    expect((await run('token', 'list', 'alice')).stderr).toBe('alice has no tokens\n')
  })

  it('tell a wrong image from one that is denied', async () => {
    const { status, stdout, stderr } = await runProgram([
      'access',
      'explain',
      'alice',
      'pull',
      'Team/x',
      ...flags,
    ])
    expect(stderr).toBe('slipway: invalid repository name: "Team/x"\n')
    expect(stdout).toBe('')
    expect(status).toBe(2)
  })

  it('make a new key to sign with', async () => {
    expect((await run('key', 'rotate')).stdout).toMatch(/^tokens are signed with key \S+ now\n$/)
  })
})
