import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag, type RepositoryName } from '../../oci/reference.ts'
import { deleteManifest } from '../../registry/manifests.ts'
import type { Registry } from '../../registry/registry.ts'
import { deleteTag } from '../../registry/tags.ts'
import { ANYBODY } from '../registry/push.ts'
import { digestAt, pullWhole, pushImage } from '../registry/undo/images.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

let test: TestRegistry
let registry: Registry
let flags: string[]
let repository: RepositoryName
let count = 0

beforeAll(async () => {
  // What it remembers commands do not tell it.
  test = await openTestRegistry({ cached: false })
  registry = test.registry
  flags = flagsOf(test.database)
})
afterAll(() => test.close())
beforeEach(() => {
  repository = parseRepositoryName(`cli/r${count++}`)
})

/** Waits until servers would have heard of it. */
const run = (...words: string[]) => runHere([...words, ...flags])

/** For those that tell servers: a second of them costs as much as the first. */
const SLOWLY = 30_000

async function audited(action: string): Promise<Record<string, unknown>[]> {
  return documentsIn(await run('audit', 'list', '--json', '--action', action))
}

describe('slipway tag history', () => {
  it('shows what tags named, and what can be restored', async () => {
    const first = await pushImage(registry, repository, 'x')
    const second = await pushImage(registry, repository, 'x')
    await pushImage(registry, repository, 'y')
    await deleteTag(registry, repository, parseTag('x'), 'user:ann')
    const { stdout } = await run('tag', 'history', repository)
    const [titles, deleted, , moved, made] = stdout.split('\n').map((row) => row.split(/ {2,}/))
    expect(titles).toEqual(['TIME', 'TAG', 'FROM', 'TO', 'ACTOR', 'CAUSE', 'RESTORABLE'])
    expect(deleted!.slice(1, 6)).toEqual(['x', second.manifest, '-', 'user:ann', '-'])
    expect(deleted![6]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/)
    expect(moved!.slice(1, 4)).toEqual(['x', first.manifest, second.manifest])
    expect(made!.slice(1)).toEqual(['x', '-', first.manifest, '-', '-', '-'])
    const documents = documentsIn(
      await run('tag', 'history', `${repository}:x`, '--json', '--limit', '1'),
    )
    expect(documents).toMatchObject([
      { tag: 'x', from: { digest: second.manifest, restorable: true }, to: null, cause: null },
    ])
  })

  it.each([
    [['cli/r0@sha256:1'], 'DIGEST_INVALID'],
    [['Cli'], 'Cli: expected a repository'],
    [['cli/r0', '--limit', '0'], '--limit 0: expected a number'],
  ])('refuses %s', async (words, message) => {
    const failure = run('tag', 'history', ...words)
    await expect(failure).rejects.toSatisfy((error: Error & { code?: string }) =>
      [error.code, error.message].some((text) => text?.includes(message) === true),
    )
  })
})

describe('slipway tag restore', () => {
  it(
    'lets a tag come back, waits until servers have heard, and is in the audit trail',
    async () => {
      const { manifest } = await pushImage(registry, repository, 'x')
      await deleteTag(registry, repository, parseTag('x'), undefined)
      const restored = await runProgram(['tag', 'restore', `${repository}:x`, ...flags])
      expect(restored).toEqual({
        status: 0,
        stdout: `${repository}:x names ${manifest} again\n`,
        stderr: 'waiting until every server has heard of it …\n',
      })
      expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
      const [event] = await audited('tag.restore')
      expect(event).toMatchObject({ repository, target: 'x', result: 'done' })
      const [change] = documentsIn(await run('tag', 'history', `${repository}:x`, '--json'))
      expect(change).toMatchObject({ cause: 'restore', actor: event!['actor'] })
    },
    SLOWLY,
  )

  it(
    'goes to a digest, to a time, and brings back a manifest without a tag',
    async () => {
      const first = await pushImage(registry, repository, 'x')
      await registry.db.query(`update tag_events set at = at - interval '2 hours'`)
      const second = await pushImage(registry, repository, 'x')
      await run('tag', 'restore', `${repository}:x`, '--at', '1h')
      expect(await digestAt(registry, repository, 'x')).toBe(first.manifest)
      const [document] = documentsIn(
        await run('tag', 'restore', `${repository}:x`, '--to', second.manifest, '--json'),
      )
      expect(document).toMatchObject({ digest: second.manifest, changed: true, manifests: 0 })
      await deleteManifest(registry, repository, first.manifest, ANYBODY)
      const { stdout } = await run('tag', 'restore', `${repository}@${first.manifest}`)
      expect(stdout).toBe(`restored ${repository}@${first.manifest}\n`)
      expect(await pullWhole(registry, repository, first.manifest)).toEqual([first.manifest])
    },
    SLOWLY,
  )

  it(
    'restores what retention deleted, and fails when some of it stays away',
    async () => {
      const { manifest } = await pushImage(registry, repository, 'kept')
      await pushImage(registry, repository, 'there')
      await registry.db.query(
        `begin; select set_config('slipway.cause', 'retention', true);
       delete from tags where name in ('kept', 'there'); commit`,
      )
      await pushImage(registry, repository, 'there')
      const { status, stdout } = await run('tag', 'restore', '--retention-since', '1h', 'cli/*')
      expect(status).toBe(1)
      const rows = stdout.split('\n').map((row) => row.split(/ {2,}/))
      expect(rows[1]).toEqual([repository, 'kept', manifest, 'restored'])
      expect(rows[2]).toEqual([repository, 'there', expect.any(String), 'tag there is there'])
      expect(await digestAt(registry, repository, 'kept')).toBe(manifest)
    },
    SLOWLY,
  )

  it.each([
    [[], 'what is to be restored?'],
    [['cli/r0'], 'expected REPOSITORY:TAG'],
    [['cli/r0:x', '--to', 'sha256:1', '--at', '1h'], '--to or --at'],
    [['cli/r0:x@sha256:1'], 'expected a tag or a digest'],
    [['--retention-since', 'soon'], 'soon: expected a span'],
    [['--retention-since', '1h', 'A'], 'is no glob'],
  ])('refuses %s', async (words, message) => {
    await expect(run('tag', 'restore', ...words)).rejects.toThrow(message)
  })
})

describe('slipway repository delete, deleted and restore', () => {
  it(
    'take a repository away and give it back, by another name where its own is taken',
    async () => {
      const { manifest } = await pushImage(registry, repository, 'x')
      expect((await run('repository', 'delete', repository)).stdout).toBe(`deleted ${repository}\n`)
      expect(await digestAt(registry, repository, 'x')).toBeUndefined()
      const { stdout } = await run('repository', 'deleted')
      expect(stdout).toMatch(/^NAME +DELETED +BY +RESTORABLE UNTIL\n/)
      const [document] = documentsIn(await run('repository', 'deleted', '--json'))
      expect(document).toMatchObject({
        name: repository,
        deletedBy: expect.stringMatching(/^command line:/),
      })
      await pushImage(registry, repository, 'x')
      await expect(run('repository', 'restore', repository)).rejects.toMatchObject({
        details: [`the name ${repository} is taken`],
      })
      const as = parseRepositoryName(`${repository}-old`)
      const restored = await run('repository', 'restore', repository, '--as', as)
      expect(restored.stdout).toBe(`restored ${repository} as ${as}\n`)
      expect(await pullWhole(registry, as, 'x')).toEqual([manifest])
      expect(await audited('repository.restore')).toMatchObject([{ repository, target: as }])
      expect(await audited('repository.delete')).toMatchObject([{ repository }])
      await expect(run('repository', 'restore', 'never/there')).rejects.toMatchObject({
        code: 'NAME_UNKNOWN',
      })
    },
    SLOWLY,
  )
})

describe('slipway lease add, list and remove', () => {
  it('keep something, show it, and let it go', async () => {
    const { manifest } = await pushImage(registry, repository, 'x')
    const image = `${repository}@${manifest}`
    const { stdout } = await run('lease', 'add', image, '--holder', 'prod', '--for', '7d')
    expect(stdout).toMatch(
      new RegExp(`^repository +${repository}\ndigest +${manifest}\nholder +prod\n`),
    )
    const [lease] = documentsIn(await run('lease', 'list', repository, '--json'))
    expect(lease).toMatchObject({ repository, digest: manifest, holder: 'prod' })
    const days = (Date.parse(String(lease!['expiresAt'])) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(6.9)
    expect(days).toBeLessThan(7.1)
    expect((await run('lease', 'list')).stdout).toMatch(/^REPOSITORY +DIGEST +HOLDER +EXPIRES/)
    const removed = await run('lease', 'remove', image, '--holder', 'prod')
    expect(removed.stdout).toBe(`removed the lease of prod on ${image}\n`)
    expect(documentsIn(await run('lease', 'list', repository, '--json'))).toEqual([])
    expect(await audited('lease.add')).toMatchObject([{ repository, target: manifest }])
  })

  it.each([
    [['add', 'cli/r0:x', '--holder', 'h', '--for', '1d'], 'expected a digest'],
    [['add', `cli/r0@sha256:${'0'.repeat(64)}`, '--for', '1d'], '--holder is missing'],
    [['add', `cli/r0@sha256:${'0'.repeat(64)}`, '--holder', 'h'], '--for is missing'],
    [['remove', `cli/r0@sha256:${'0'.repeat(64)}`], '--holder is missing'],
  ])('refuses %s', async (words, message) => {
    await expect(run('lease', ...words)).rejects.toThrow(message)
  })
})
