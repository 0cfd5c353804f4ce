import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addGrant } from '../../auth/accounts/grants.ts'
import {
  addUser,
  basic,
  bearerFor,
  type GuardedRegistry,
  type KnownClient,
  OPERATOR,
  runGuarded,
} from './accounts.ts'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  sha256,
  startUpload,
} from './client.ts'
import {
  artifact,
  type Content,
  descriptorOf,
  document,
  OCI_INDEX,
  pushEmpty,
  pushManifest,
  putManifest,
} from './images.ts'

let running: GuardedRegistry
let admin: KnownClient
/** Each of who may do everything that no rule denies, by password and by token. */
const callers: Record<string, () => Promise<KnownClient>> = {
  'by password': async () => running.as(basic('ann')),
  'by token': async () =>
    running.as(await bearerFor(running.client, basic('ann'), `repository:${repository}:*`)),
  'as an administrator': async () => admin,
}

let repository = ''
let count = 0

beforeAll(async () => {
  running = await runGuarded()
  admin = running.admin
  const { access } = running
  await addUser(access, 'ann', { '**': ['pull', 'push', 'overwrite', 'delete'] })
  await addUser(access, 'push', { '**': ['pull', 'push'] })
  await addUser(access, 'dev')
  await addGrant(access, OPERATOR, {
    effect: 'deny',
    subject: 'everyone',
    repositories: ['prod/**'],
    tags: ['v*'],
    actions: ['overwrite', 'delete'],
  })
  await addGrant(access, OPERATOR, {
    effect: 'allow',
    subject: 'user:dev',
    repositories: ['prod/**'],
    tags: ['dev-*'],
    actions: ['pull', 'push', 'overwrite', 'delete'],
  })
})
afterAll(() => running.close())
beforeEach(async () => {
  repository = `prod/app-${count++}`
  await pushEmpty(admin, repository)
})

const tag = (name: string, client: Client = admin) =>
  client.head(`/v2/${repository}/manifests/${name}`)
const remove = (client: Client, reference: string) =>
  client.delete(`/v2/${repository}/manifests/${reference}`)

/** Which digest each tag names; undefined: there is no such tag. */
async function expectTags(expected: Readonly<Record<string, string | undefined>>): Promise<void> {
  for (const [name, digest] of Object.entries(expected)) {
    const { status, headers } = await tag(name)
    expect({ name, digest: status === 404 ? undefined : headers['docker-content-digest'] }).toEqual(
      { name, digest },
    )
  }
}

async function pushed(reference: string): Promise<Content> {
  const content = artifact()
  await pushManifest(admin, repository, reference, content)
  return content
}

/** By digest, by who may do what no rule denies. */
function putTagged({ digest, ...rest }: Content, tags: readonly string[]): Promise<Answer> {
  const query = tags.map((name) => `tag=${name}`).join('&')
  return putManifest(running.as(basic('ann')), repository, `${digest}?${query}`, rest)
}

/** A refusal for good: no challenge, since no other token would help. */
function expectDenied(answer: Answer): void {
  expectError(answer, 403, 'DENIED')
  expect(answer.headers['www-authenticate']).toBeUndefined()
}

describe('case 32: an immutable tag', () => {
  for (const [how, caller] of Object.entries(callers)) {
    it(`can be made, and pushed again as it is, ${how}`, async () => {
      const [client, content] = [await caller(), artifact()]
      expectStatus(await putManifest(client, repository, 'v1', content), 201)
      expectStatus(await putManifest(client, repository, 'v1', content), 201)
      await expectTags({ v1: content.digest })
    })

    it(`cannot be moved, ${how}: 403 DENIED, and it stays where it is`, async () => {
      const [client, content, other] = [await caller(), await pushed('v1'), artifact()]
      expectDenied(await putManifest(client, repository, 'v1', other))
      await expectTags({ v1: content.digest })
      expectStatus(await client.get(`/v2/${repository}/manifests/${other.digest}`), 404)
    })

    it(`cannot be deleted, neither by name nor with its manifest, ${how}`, async () => {
      const [client, content] = [await caller(), await pushed('v1')]
      await pushManifest(admin, repository, 'latest', content)
      expectDenied(await remove(client, 'v1'))
      expectDenied(await remove(client, content.digest))
      await expectTags({ v1: content.digest, latest: content.digest })
      expectStatus(await remove(client, 'latest'), 202)
      await expectTags({ v1: content.digest, latest: undefined })
    })
  }

  it('keeps its repository from being deleted, with all there is in it', async () => {
    const [content, other] = [await pushed('v1'), await pushed('latest')]
    for (const client of [admin, running.as(basic('ann'))]) {
      expectDenied(await client.delete(`/api/v1/repositories/${repository}`))
    }
    await expectTags({ v1: content.digest, latest: other.digest })
    expectStatus(await admin.head(`/v2/${repository}/blobs/${sha256('{}')}`), 200)
  })

  it('keeps neither a manifest without it nor a repository without one', async () => {
    const other = await pushed('latest')
    expectStatus(await remove(admin, other.digest), 202)
    await pushed('latest')
    expectStatus(await admin.delete(`/api/v1/repositories/${repository}`), 202)
    expectStatus(await admin.get(`/v2/${repository}/tags/list`), 404)
  })

  it('keeps what its index lists', async () => {
    const child = artifact()
    await pushManifest(admin, repository, child.digest, child)
    const index = document(OCI_INDEX, { manifests: [descriptorOf(child)] })
    await pushManifest(admin, repository, 'v1', index)
    expectError(await remove(admin, child.digest), 405, 'UNSUPPORTED')
    expectDenied(await remove(admin, index.digest))
    expectError(await admin.delete(`/v2/${repository}/blobs/${sha256('{}')}`), 405, 'UNSUPPORTED')
    expectStatus(await admin.get(`/v2/${repository}/manifests/${child.digest}`), 200)
  })

  it('among tag parameters leaves nothing tagged when it would move', async () => {
    const [content, latest, other] = [await pushed('v1'), await pushed('latest'), artifact()]
    for (const tags of [
      ['latest', 'new', 'v1'],
      ['v1', 'new', 'latest'],
      ['new', 'v1', 'latest', 'v2'],
    ]) {
      expectDenied(await putTagged(other, tags))
      await expectTags({
        v1: content.digest,
        latest: latest.digest,
        new: undefined,
        v2: undefined,
        [other.digest]: undefined,
      })
    }
    const answer = await putTagged(content, ['v1', 'v2', 'latest'])
    expectStatus(answer, 201)
    await expectTags({ v1: content.digest, v2: content.digest, latest: content.digest })
  })

  it('with a condition that does not hold is 412, and 403 where it holds', async () => {
    const [content, other] = [await pushed('v1'), artifact()]
    const put = (condition: Readonly<Record<string, string>>) =>
      admin.send('PUT', `/v2/${repository}/manifests/v1`, {
        headers: { 'Content-Type': other.mediaType, ...condition },
        body: other.bytes,
      })
    expectStatus(await put({ 'If-None-Match': '*' }), 412)
    expectStatus(await put({ 'If-Match': `"${other.digest}"` }), 412)
    expectDenied(await put({ 'If-Match': `"${content.digest}"` }))
    await expectTags({ v1: content.digest })
  })

  it('keeps its media type when the same bytes come as another one, by digest', async () => {
    const bytes = '{"schemaVersion":2,"manifests":[]}' // states none: that of the push counts
    const put = (client: Client, reference: string, type: string) =>
      client.send('PUT', `/v2/${repository}/manifests/${reference}`, {
        headers: { 'Content-Type': type },
        body: bytes,
      })
    const list = 'application/vnd.docker.distribution.manifest.list.v2+json'
    expectStatus(await put(admin, 'v1', OCI_INDEX), 201)
    for (const make of Object.values(callers)) {
      expectError(await put(await make(), sha256(bytes), list), 403, 'DENIED')
      expectError(await put(await make(), 'other', list), 403, 'DENIED')
    }
    const { headers } = await admin.get(`/v2/${repository}/manifests/v1`)
    expect(headers['content-type']).toBe(OCI_INDEX)
    expectStatus(await put(admin, sha256(bytes), OCI_INDEX), 201)
  })

  it('is made by one of many who try at once', async () => {
    const contents = Array.from({ length: 10 }, () => artifact())
    const answers = await Promise.all(
      contents.map((content) => putManifest(running.as(basic('ann')), repository, 'v1', content)),
    )
    const made = answers.flatMap(({ status }, index) => (status === 201 ? [index] : []))
    expect(made).toHaveLength(1)
    answers.filter(({ status }) => status !== 201).forEach(expectDenied)
    await expectTags({ v1: contents[made[0]!]!.digest })
  })
})

describe('who may push and not overwrite', () => {
  it('makes tags, pushes them again as they are, and moves none', async () => {
    const content = artifact()
    const client = running.as(basic('push'))
    const token = running.as(
      await bearerFor(running.client, basic('push'), `repository:${repository}:pull,push`),
    )
    expectStatus(await putManifest(client, repository, 'latest', content), 201)
    for (const each of [client, token]) {
      expectStatus(await putManifest(each, repository, 'latest', content), 201)
      const other = artifact()
      expectDenied(await putManifest(each, repository, 'latest', other))
      expectStatus(await putManifest(each, repository, other.digest, other), 201)
      expectDenied(await putManifest(each, repository, `${other.digest}?tag=latest`, other))
    }
    await expectTags({ latest: content.digest })
  })

  it('deletes nothing', async () => {
    const content = await pushed('latest')
    const client = running.as(basic('push'))
    for (const reference of ['latest', content.digest]) {
      expectDenied(await remove(client, reference))
    }
    expectDenied(await client.delete(`/v2/${repository}/blobs/${sha256('{}')}`))
    expectDenied(await client.delete(`/api/v1/repositories/${repository}`))
    await expectTags({ latest: content.digest })
  })
})

const developers = async () => {
  const scope = `repository:${repository}:*`
  return [basic('dev'), await bearerFor(running.client, basic('dev'), scope)].map(running.as)
}

describe('who has rights to some tags', () => {
  it('makes, moves and deletes those, and no others', async () => {
    const [release] = [await pushed('v1'), await pushed('latest')]
    for (const client of await developers()) {
      await startUpload(client, repository)
      const [content, other] = [artifact(), artifact()]
      expectStatus(await putManifest(client, repository, 'dev-1', content), 201)
      expectStatus(await putManifest(client, repository, 'dev-1', other), 201)
      await expectTags({ 'dev-1': other.digest })
      expectDenied(await putManifest(client, repository, 'v2', content))
      expectDenied(await putManifest(client, repository, 'latest', content))
      expectDenied(await putManifest(client, repository, `${other.digest}?tag=dev-2&tag=x`, other))
      expectStatus(await remove(client, 'dev-1'), 202)
      expectDenied(await remove(client, 'v1'))
      expectDenied(await remove(client, 'latest'))
      expectDenied(await remove(client, release.digest))
      expectDenied(await client.delete(`/api/v1/repositories/${repository}`))
      await expectTags({
        v1: release.digest,
        'dev-1': undefined,
        'dev-2': undefined,
        v2: undefined,
      })
    }
  })

  it('pulls by those, and learns of no other whether it exists', async () => {
    const content = await pushed('dev-1')
    await pushed('v1')
    for (const client of await developers()) {
      expect((await tag('dev-1', client)).headers['docker-content-digest']).toBe(content.digest)
      const answers = await Promise.all(
        ['v1', 'v9'].map((name) => client.get(`/v2/${repository}/manifests/${name}`)),
      )
      answers.forEach(expectDenied)
      const [there, absent] = answers.map(({ body }) => body.toString().replaceAll(/v[19]/g, 'v'))
      expect(there).toBe(absent)
    }
  })
})
