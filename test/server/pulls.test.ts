import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addGrant } from '../../auth/accounts/grants.ts'
import { digestOf } from '../../oci/digest.ts'
import { NO_RETENTION } from '../../registry/retention/retention.ts'
import { type RunningRegistry, runRegistry } from '../acceptance/client.ts'
import { pushImage } from '../acceptance/images.ts'
import { addUser, basic } from './api/json.ts'

const as = (name: string) => ({ Authorization: basic(name) })

describe('a pull of a hosted manifest', () => {
  let running: RunningRegistry
  beforeAll(async () => {
    running = await runRegistry({
      access: { mode: 'token' },
      retention: { ...NO_RETENTION, ignoresPullsOf: new Set(['user:scanner']) },
    })
    const { access } = running.registry
    for (const name of ['ada', 'scanner']) await addUser(access, name)
    const opening = { effect: 'allow', subject: 'everyone', repositories: ['**'] } as const
    await addGrant(access, { subject: 'test' }, { ...opening, actions: ['pull', 'push'] })
  })
  afterAll(() => running.close())

  /** Whether a pull of the tag is recorded by now. */
  async function isPulled(repository: string, tag: string): Promise<boolean> {
    const { registry } = running.registry
    await registry.uses.flush(registry.db)
    const { rows } = await registry.db.query<{ pulled: boolean }>(
      `select m.used_at is not null as pulled
       from repositories r
       join tags t on t.repository_id = r.id and t.name = $2
       join manifests m on m.id = t.manifest_id
       where r.name = $1`,
      [repository, tag],
    )
    return rows[0]!.pulled
  }

  it.each(['GET', 'HEAD'])(
    'is recorded for %s, by tag and by digest, and not for a push',
    async (method) => {
      const { client } = running
      const repository = `pulls/${method.toLowerCase()}`
      const { digest } = await pushImage(client, repository, 'tag')
      const other = await pushImage(client, repository, 'other')
      expect(await isPulled(repository, 'tag')).toBe(false)
      const path = `/v2/${repository}/manifests`
      expect((await client.send(method, `${path}/tag`, { headers: as('ada') })).status).toBe(200)
      expect(await isPulled(repository, 'tag')).toBe(true)
      expect(await isPulled(repository, 'other')).toBe(false)
      expect((await client.send(method, `${path}/${other.digest}`)).status).toBe(200)
      expect(await isPulled(repository, 'other')).toBe(true)
      expect(digest).not.toBe(other.digest)
    },
  )

  it('counts when it is answered with 304, and not when there is nothing', async () => {
    const { client } = running
    const { digest } = await pushImage(client, 'pulls/same', 'tag')
    const missing = digestOf(Buffer.from('missing'))
    expect((await client.get(`/v2/pulls/same/manifests/${missing}`)).status).toBe(404)
    expect(await isPulled('pulls/same', 'tag')).toBe(false)
    const headers = { 'If-None-Match': `"${digest}"` }
    expect((await client.get('/v2/pulls/same/manifests/tag', headers)).status).toBe(304)
    expect(await isPulled('pulls/same', 'tag')).toBe(true)
  })

  it('does not count of those who look at everything', async () => {
    const { client } = running
    await pushImage(client, 'pulls/scanned', 'tag')
    const path = '/v2/pulls/scanned/manifests/tag'
    expect((await client.get(path, as('scanner'))).status).toBe(200)
    expect(await isPulled('pulls/scanned', 'tag')).toBe(false)
    expect((await client.get(path, as('ada'))).status).toBe(200)
    expect(await isPulled('pulls/scanned', 'tag')).toBe(true)
  })

  it('writes nothing by itself', async () => {
    const { client, registry } = running
    await pushImage(client, 'pulls/quiet', 'tag')
    /** A row that is written to is another version of itself. */
    const versions = async () => {
      const { rows } = await registry.registry.db.query(
        `select m.xmin::text as manifest, t.xmin::text as tag, r.xmin::text as repository
         from repositories r
         join tags t on t.repository_id = r.id
         join manifests m on m.id = t.manifest_id
         where r.name = 'pulls/quiet'`,
      )
      return rows
    }
    const path = '/v2/pulls/quiet/manifests/tag'
    const before = await versions()
    for (let pull = 0; pull < 20; pull++) expect((await client.get(path)).status).toBe(200)
    expect(await versions()).toEqual(before)
    expect(await isPulled('pulls/quiet', 'tag')).toBe(true)
  })
})
