import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newRepository, pushTags, tagsOf } from '../registry/retention/stage.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

let test: TestRegistry
let flags: string[]

const RULES = [
  {
    name: 'ci',
    repositories: ['keep/**'],
    delete: { olderThan: '14d' },
    keep: { tags: ['main'] },
  },
]

beforeAll(async () => {
  test = await openTestRegistry()
  flags = [...flagsOf(test.database), '--retention-rules', JSON.stringify(RULES)]
})
afterAll(() => test.close())

beforeEach(async () => {
  await test.registry.db.query('delete from repositories')
  await test.registry.db.query('delete from retention_runs')
  test.registry.cache.forgetAll()
})

const run = (...words: string[]) => runHere(['retention', ...words, ...flags])

async function push(tags: Record<string, object>) {
  const repository = newRepository()
  await pushTags(test.registry, repository, tags)
  return repository
}

describe('slipway retention plan', () => {
  it('shows what rules delete, what keeps it, and what is freed', async () => {
    const repository = await push({ a: { days: 20, bytes: 2000 }, main: { days: 20 }, young: {} })
    const { status, stdout } = await run('plan')
    expect(status).toBe(0)
    const lines = stdout.split('\n').map((line) => line.split(/ {2,}/))
    expect(lines.slice(0, 3)).toEqual([
      ['WHAT', 'TAG', 'RULE', 'WHY'],
      ['delete', `${repository}:a`, 'ci', 'pushed 20 days ago'],
      ['keep', `${repository}:main`, 'ci', 'by its name'],
    ])
    expect(lines.slice(4, 6)).toEqual([
      ['REPOSITORY', 'DELETED', 'KEPT', 'FREED'],
      [repository, '1', '2', expect.stringMatching(/^2\.\d KiB$/)],
    ])
    expect(stdout).toMatch(/\n1 tag to delete, 2 to keep; that frees 2\.\d KiB\n$/)
    expect(await tagsOf(test, repository)).toEqual(['a', 'main', 'young'])
    const all = await run('plan', '--all')
    expect(all.stdout).toContain(`${repository}:young`)
    expect(all.stdout).toMatch(/Since the last plan, of \S+ \S+Z: \+0 to delete, \+0 B\n/)
  })

  it('tells what is other than before', async () => {
    const repository = await push({ a: { days: 20 } })
    await run('plan')
    await test.registry.db.query(`update tags set updated_at = now() where name = 'a'`)
    await pushTags(test.registry, repository, { b: { days: 20 }, c: { days: 20 } })
    const { stdout } = await run('plan')
    expect(stdout).toContain('+1 to delete')
    expect(stdout).toContain(`now to be deleted: ${repository}:b, ${repository}:c`)
    expect(stdout).toContain(`not any more: ${repository}:a`)
  })

  it('answers in JSON, a document for each tag and one for all', async () => {
    const repository = await push({ a: { days: 20 }, main: { days: 20 }, young: {} })
    const documents = documentsIn(await run('plan', 'keep/*', '--json'))
    expect(documents).toMatchObject([
      { repository, tag: 'a', deleted: true, rule: 'ci', pulledAt: null },
      { repository, tag: 'main', deleted: false, rule: 'ci' },
      { glob: 'keep/*', kept: 2, deleted: 1, repositories: [{ repository }], difference: null },
    ])
    expect(documentsIn(await run('plan', '--all', '--json'))).toHaveLength(4)
  })

  it('says that a part allows nothing, and that there are no rules', async () => {
    await push({ a: { days: 20 } })
    expect((await run('plan', 'keep/*')).stdout).toContain('This is a part')
    await expect(run('run')).rejects.toThrow('there is no plan of these rules')
    const bare = await runHere(['retention', 'plan', ...flagsOf(test.database)])
    expect(bare).toEqual({
      status: 0,
      stdout: '0 tags to delete, 0 to keep; that frees 0 B\n',
      stderr: 'no rule of retention deletes anything\n',
    })
  })

  it('refuses what is no glob', async () => {
    await expect(run('plan', 'Keep/**')).rejects.toThrow('Keep/**: expected a glob of repositories')
  })
})

describe('slipway retention run', () => {
  it('does what was planned, and writes down who wanted it', async () => {
    const repository = await push({ a: { days: 20 }, main: { days: 20 } })
    await run('plan')
    const { stdout } = await run('run')
    expect(stdout).toMatch(/^deleted 1 tag; in the end that frees \d+ B\n$/)
    expect(await tagsOf(test, repository)).toEqual(['main'])
    const { rows } = await test.registry.db.query<{ actor: string }>(
      `select distinct actor from tag_events where cause = 'retention'
       union select actor from audit_events where action = 'retention.run'`,
    )
    expect(rows).toEqual([{ actor: expect.stringMatching(/^command line:/) }])
    expect(documentsIn(await run('run', '--json'))).toMatchObject([{ kind: 'run', deleted: 0 }])
  })

  it('wants consent for more than that', async () => {
    const repository = await push({ a: { days: 20 } })
    await run('plan')
    await pushTags(test.registry, repository, { b: { days: 20 } })
    const refusal = run('run')
    await expect(refusal).rejects.toThrow(
      'nothing was deleted: it would delete 2 tags; the last plan was to delete 1',
    )
    await expect(refusal).rejects.toThrow('slipway retention run --consent 2')
    expect(await tagsOf(test, repository)).toEqual(['a', 'b'])
    await run('run', '--consent', '2')
    expect(await tagsOf(test, repository)).toEqual([])
  })

  it.each(['x', '-1', '1.5', '3000000000'])('refuses to be consented to by %s', async (text) => {
    await expect(run('run', `--consent=${text}`)).rejects.toThrow('expected a number of tags')
  })

  it('fails as a program when it is refused', async () => {
    await push({ a: { days: 20 } })
    const { status, stdout, stderr } = await runProgram(['retention', 'run', ...flags])
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toContain('slipway: nothing was deleted: there is no plan of these rules')
    expect(stderr).toContain('slipway retention plan shows what it would delete')
  })
})

describe('slipway retention history', () => {
  it('lists plans and runs, the latest first', async () => {
    await push({ a: { days: 20 } })
    const none = await run('history')
    expect(none).toMatchObject({ stdout: '', stderr: 'there are no plans and no runs\n' })
    await run('plan')
    await run('plan', 'keep/*')
    await run('run')
    const { stdout } = await run('history')
    const rows = stdout.split('\n').map((line) => line.split(/ {2,}/))
    expect(rows[0]).toEqual([
      'ID',
      'WHAT',
      'TIME',
      'BY',
      'REPOSITORIES',
      'DELETED',
      'KEPT',
      'FREED',
    ])
    expect(rows.slice(1, 4).map(([, what, , , glob, deleted]) => [what, glob, deleted])).toEqual([
      ['run', 'all', '1'],
      ['plan', 'keep/*', '1'],
      ['plan', 'all', '1'],
    ])
    expect(documentsIn(await run('history', '--json'))).toHaveLength(3)
  })
})
