import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openAccessFile, parseAccessFile } from '../../../auth/rules/access-file.ts'

let folder: string
let count = 0
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-access-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function fileOf(content: string): Promise<string> {
  const file = path.join(folder, `${++count}.yml`)
  await writeFile(file, content)
  return file
}

const rulesOf = async (content: string) => parseAccessFile(Buffer.from(content))

const allow = (subject: string) => `grants: [{repositories: "**", allow: {${subject}: [pull]}}]`

describe('an access file', () => {
  it('holds groups, grants and issuers', async () => {
    const rules = await rulesOf(`
groups:
  team-a: [alice, bob]
  ops: [bob]
grants:
  - repositories: ["team-a/**", shared]
    allow: { "group:team-a": [pull, push], "robot:ci": [pull] }
  - repositories: "**"
    tags: "v*"
    deny: { everyone: [overwrite, delete] }
issuers:
  - name: forge
    issuer: https://forge.example
    audience: https://registry.example
    rules:
      - claims: { repository: "acme/*" }
        repositories: ["{repository}"]
        actions: [pull, push]
`)
    expect(rules.groupsOf.get('bob')).toEqual(['team-a', 'ops'])
    expect(rules.grants).toEqual([
      {
        origin: 'access file, grant 1',
        effect: 'allow',
        subject: 'group:team-a',
        repositories: ['team-a/**', 'shared'],
        tags: undefined,
        actions: ['pull', 'push'],
      },
      expect.objectContaining({ subject: 'robot:ci', actions: ['pull'] }),
      expect.objectContaining({
        origin: 'access file, grant 2',
        effect: 'deny',
        subject: 'everyone',
        repositories: ['**'],
        tags: ['v*'],
      }),
    ])
    expect(rules.issuers).toMatchObject([{ name: 'forge', rules: [{ seconds: 600 }] }])
  })

  it.each(['{}', 'grants: []'])('may say that there are no rules: %j', async (content) => {
    expect(await rulesOf(content)).toMatchObject({ grants: [], issuers: [] })
  })

  it.each([
    ['no YAML', 'grants: [', 'line 1'],
    ['nothing in it', '', 'is empty'],
    ['a comment only', '# nothing\n', 'is empty'],
    ['an unknown key', 'grant: []', 'grant'],
    [
      'an unknown action',
      'grants: [{repositories: "**", allow: {everyone: [write]}}]',
      'grants.0.allow.everyone.0',
    ],
    [
      'an unknown subject',
      'grants: [{repositories: "**", allow: {alice: [pull]}}]',
      'expected user:',
    ],
    [
      'a name that cannot be one',
      'grants: [{repositories: "**", allow: {"user:a b": [pull]}}]',
      'expected user:',
    ],
    [
      'a glob that can match nothing',
      'grants: [{repositories: "Team/**", allow: {everyone: [pull]}}]',
      'Team/**',
    ],
    [
      'tags that can match nothing',
      'grants: [{repositories: "**", tags: "a/b", allow: {everyone: [pull]}}]',
      'a/b',
    ],
    ['a grant of nothing', 'grants: [{repositories: "**"}]', 'expected allow or deny'],
    ['no repositories', 'grants: [{allow: {everyone: [pull]}}]', 'grants.0.repositories'],
    [
      'no actions',
      'grants: [{repositories: "**", allow: {everyone: []}}]',
      'grants.0.allow.everyone',
    ],
    ['a list', '[1]', 'the file'],
    [
      'an issuer twice',
      `issuers: [${'{name: a, issuer: "https://a", audience: x, rules: [{claims: {a: b}, repositories: [x], actions: [pull]}]},'.repeat(2)}]`,
      'same name',
    ],
  ])('with %s is refused, and says where', async (_what, content, expected) => {
    await expect(rulesOf(content)).rejects.toThrow(expected)
  })

  it('is read again when it changes; what cannot be used changes nothing', async () => {
    const file = await fileOf(allow('everyone'))
    const log = { info: vi.fn<() => void>(), warn: vi.fn<() => void>() }
    const onChange = vi.fn<() => void>()
    const opened = await openAccessFile(file, { log, onChange, pollMs: 20 })
    try {
      await writeFile(file, 'grants: [')
      await vi.waitFor(() => expect(log.warn).toHaveBeenCalled(), 5000)
      expect(opened.content.grants).toMatchObject([{ subject: 'everyone' }])
      expect(onChange).not.toHaveBeenCalled()
      await rename(await fileOf(allow('anonymous')), file)
      await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), 5000)
      expect(opened.content.grants).toMatchObject([{ subject: 'anonymous' }])
    } finally {
      opened.close()
    }
  })

  it('that is not there is an error at first', async () => {
    const options = { log: { info: () => {}, warn: () => {} }, onChange: () => {} }
    const opening = openAccessFile(path.join(folder, 'none.yml'), options)
    await expect(opening).rejects.toThrow('ENOENT')
  })
})
