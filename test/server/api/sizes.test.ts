import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { ensureRepository } from '../../../storage/metadata/repositories.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { seedBlob, seedManifest } from '../../storage/metadata/seed.ts'
import { type Api, addUser, apiOf, codeOf, follow, itemsOf } from './json.ts'

describe('sizes in the API', () => {
  let running: RunningRegistry
  let admin: Api
  let ada: Api
  let ben: Api
  let anonymous: Api
  let manifest: Digest
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    const { access, registry } = running.registry
    admin = apiOf(running.client, await addUser(access, 'root', { admin: true }))
    ada = apiOf(running.client, await addUser(access, 'ada'))
    ben = apiOf(running.client, await addUser(access, 'ben'))
    anonymous = apiOf(running.client, undefined)
    const grant = { effect: 'allow', repositories: ['team/*'], actions: ['pull'] }
    await admin('POST', '/grants', { ...grant, subject: 'user:ada' })
    await admin('POST', '/grants', { ...grant, subject: 'user:ben', tags: ['one'] })
    const [team, secret] = [
      await ensureRepository(registry.db, parseRepositoryName('team/app')),
      await ensureRepository(registry.db, parseRepositoryName('secret/app')),
    ]
    const base = await seedBlob(registry.db, team, 'x'.repeat(1000))
    const own = await seedBlob(registry.db, team, 'y'.repeat(200))
    manifest = await seedManifest(registry.db, team, '1'.repeat(10), {
      blobs: [base, own],
      tags: ['one'],
    })
    await seedManifest(registry.db, team, '2'.repeat(20), { blobs: [own], tags: ['three', 'two'] })
    await seedManifest(registry.db, secret, '3'.repeat(30), { blobs: [base], tags: ['one'] })
  })
  afterAll(() => running.close())

  const frees = async (body: object) => (await ada('POST', '/sizes/freed', body)).body

  const team = {
    name: 'team/app',
    tags: 3,
    manifests: 2,
    blobs: 2,
    totalBytes: 1230,
    uniqueBytes: 230,
    sharedBytes: 1000,
  }

  it('are those of repositories that the caller may pull from, the largest first', async () => {
    const all = await admin('GET', '/sizes')
    expect(all.body).toMatchObject({ examined: 2, complete: true })
    expect(itemsOf(all).map(({ name }) => name)).toEqual(['team/app', 'secret/app'])
    expect((await ada('GET', '/sizes')).body).toEqual({
      items: [team],
      examined: 1,
      complete: true,
    })
    expect((await anonymous('GET', '/sizes')).body).toMatchObject({ items: [], examined: 0 })
    expect(itemsOf(await admin('GET', '/sizes?limit=1'))).toEqual([team])
    expect(itemsOf(await ada('GET', '/sizes?repository=team/app'))).toEqual([team])
  })

  it('are those of tags, page by page', async () => {
    const pages = await follow(ada, '/sizes/tags?repository=team/app&limit=2')
    expect(pages.map((page) => page.map(({ tag }) => tag))).toEqual([['one', 'three'], ['two']])
    expect(pages[0]?.[0]).toEqual({
      tag: 'one',
      digest: manifest,
      totalBytes: 1210,
      uniqueBytes: 10,
      sharedBytes: 1200,
      freedBytes: 10,
    })
    expect(pages[1]?.[0]).toMatchObject({ totalBytes: 220, uniqueBytes: 0, freedBytes: 0 })
  })

  it('are those of tags without the digests of tags that the caller may not pull', async () => {
    const sizes = itemsOf(await ada('GET', '/sizes/tags?repository=team/app'))
    const expected = sizes.map((each) => (each['tag'] === 'one' ? each : { ...each, digest: null }))
    expect(itemsOf(await ben('GET', '/sizes/tags?repository=team/app'))).toEqual(expected)
    expect(expected.map(({ digest }) => digest)).toEqual([manifest, null, null])
  })

  it('tell what a selection frees', async () => {
    const repository = 'team/app'
    const tags = ['two', 'three'].map((tag) => ({ repository, tag }))
    expect(await frees({ tags })).toEqual({ manifests: 1, blobs: 0, bytes: 20 })
    const both = { tags, manifests: [{ repository, digest: manifest }] }
    expect(await frees(both)).toEqual({ manifests: 2, blobs: 1, bytes: 230 })
    expect(await frees({ repositories: [repository] })).toEqual({
      manifests: 2,
      blobs: 1,
      bytes: 230,
    })
    expect(await frees({ tags: [] })).toEqual({ manifests: 0, blobs: 0, bytes: 0 })
    const answer = await admin('POST', '/sizes/freed', { repositories: [repository, 'secret/app'] })
    expect(answer.body).toEqual({ manifests: 3, blobs: 2, bytes: 1260 })
  })

  it('are refused alike of what may not be pulled and of what there is not', async () => {
    for (const name of ['secret/app', 'secret/none']) {
      const mixed = { repositories: ['team/app'], tags: [{ repository: name, tag: 'one' }] }
      for (const [api, status] of [
        [ada, 403],
        [anonymous, 401],
      ] as const) {
        const answers = [
          await api('GET', `/sizes?repository=${name}`),
          await api('GET', `/sizes/tags?repository=${name}`),
          await api('POST', '/sizes/freed', mixed),
        ]
        expect(answers.map((answer) => answer.status)).toEqual([status, status, status])
      }
    }
  })

  it('are not those of what there is not, or cannot be', async () => {
    const repository = 'team/none'
    const codes = [
      await ada('GET', `/sizes?repository=${repository}`),
      await ada('GET', `/sizes/tags?repository=${repository}`),
      await ada('POST', '/sizes/freed', { repositories: [repository] }),
      await ada('POST', '/sizes/freed', { tags: [{ repository: 'team/app', tag: 'none' }] }),
      await ada('POST', '/sizes/freed', { tags: [{ repository: 'team/app', tag: '-' }] }),
      await ada('POST', '/sizes/freed', { manifests: [{ repository: 'team/app', digest: 'x' }] }),
      await ada('GET', '/sizes?repository=No'),
    ].map(codeOf)
    expect(codes).toEqual([
      'NAME_UNKNOWN',
      'NAME_UNKNOWN',
      'NAME_UNKNOWN',
      'MANIFEST_UNKNOWN',
      'TAG_INVALID',
      'DIGEST_INVALID',
      'NAME_INVALID',
    ])
    expect((await ada('POST', '/sizes/freed', {})).status).toBe(400)
  })
})
