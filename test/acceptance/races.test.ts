import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectBlob,
  expectStatus,
  json,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
  someBytes,
  startUpload,
} from './client.ts'
import {
  artifact,
  describeContent,
  descriptorOf,
  document,
  OCI_INDEX,
  OCI_LAYER,
  pushEmpty,
  pushManifest,
  putManifest,
} from './images.ts'

const ROUNDS = 25

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
  await pushEmpty(client, 'races')
})
afterAll(() => running.close())

/** Starts both at once, either of them first. */
async function race<A, B>(
  round: number,
  a: () => Promise<A>,
  b: () => Promise<B>,
): Promise<[A, B]> {
  if (round % 2 === 0) return Promise.all([a(), b()])
  const second = b()
  return Promise.all([a(), second])
}

/** Exactly one of the two may have had its way. */
function expectOneWinner(put: Answer, deletion: Answer): void {
  expect([
    [201, 405],
    [400, 202],
  ]).toContainEqual([put.status, deletion.status])
}

describe('case 34, while both happen at once', () => {
  it('a blob is deleted or named by a manifest, never both', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const layer = someBytes()
      const url = `/v2/races/blobs/${await pushBlob(client, 'races', layer)}`
      const content = artifact({ layers: [describeContent(OCI_LAYER, layer)] })
      const [put, deletion] = await race(
        round,
        () => putManifest(client, 'races', 't', content),
        () => client.delete(url),
      )
      expectOneWinner(put, deletion)
      expectStatus(await client.head(url), put.status === 201 ? 200 : 404)
    }
  })

  it('a manifest is deleted or listed by an index, never both', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const child = artifact()
      const url = `/v2/races/manifests/${child.digest}`
      await pushManifest(client, 'races', child.digest, child)
      const index = document(OCI_INDEX, { manifests: [descriptorOf(child)] })
      const [put, deletion] = await race(
        round,
        () => putManifest(client, 'races', 't', index),
        () => client.delete(url),
      )
      expectOneWinner(put, deletion)
      expectStatus(await client.get(url), put.status === 201 ? 200 : 404)
    }
  })
})

describe('case 22, while the blob goes', () => {
  it('a push that was answered 201 after a deletion is there', async () => {
    const blob = someBytes()
    const url = `/v2/races/blobs/${sha256(blob)}`
    for (let round = 0; round < ROUNDS; round++) {
      await pushBlob(client, 'races', blob)
      const [deletion] = await race(
        round,
        () => client.delete(url),
        () => pushBlob(client, 'races', blob),
      )
      expectStatus(deletion, 202)
      const [head, get] = [await client.head(url), await client.get(url)]
      expect(get.status).toBe(head.status)
      await pushBlob(client, 'races', blob)
      await expectBlob(client, 'races', blob)
    }
  })

  it('a mount that was answered 201 is served, whatever becomes of the source', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const blob = someBytes()
      const digest = await pushBlob(client, 'races', blob)
      const [mount] = await race(
        round,
        () => client.send('POST', `/v2/mounted/blobs/uploads/?mount=${digest}&from=races`),
        () => client.delete(`/v2/races/blobs/${digest}`),
      )
      expect([201, 202]).toContain(mount.status)
      expectStatus(
        await client.get(`/v2/mounted/blobs/${digest}`),
        mount.status === 201 ? 200 : 404,
      )
    }
  })
})

describe('a tag that is set, deleted and read at once', () => {
  it('is in the list if and only if it can be pulled', async () => {
    const contents = [artifact(), artifact(), artifact()]
    for (let round = 0; round < ROUNDS; round++) {
      const work = [
        ...contents.map((content) => putManifest(client, 'races', 'shared', content)),
        client.delete('/v2/races/manifests/shared'),
        client.delete(`/v2/races/manifests/${contents[round % 3]!.digest}`),
        client.get('/v2/races/manifests/shared'),
        client.head('/v2/races/manifests/shared'),
      ]
      for (const { status } of await Promise.all(work))
        expect([200, 201, 202, 404]).toContain(status)

      const pulled = await client.get('/v2/races/manifests/shared')
      const { tags } = json(await client.get('/v2/races/tags/list')) as { tags: string[] }
      expect(pulled.status === 200).toBe(tags.includes('shared'))
      const digest = String(pulled.headers['docker-content-digest'] ?? contents[0]!.digest)
      const byDigest = await client.get(`/v2/races/manifests/${digest}`)
      expect(pulled.status === 200 ? byDigest.status : 200).toBe(200)
    }
  })
})

function deleteRepository(): Promise<Answer> {
  return client.delete('/api/v1/repositories/going')
}

function failuresAmong(answers: readonly Answer[]): string[] {
  return answers.filter(({ status }) => status >= 500).map(({ body }) => body.toString('utf8'))
}

describe('a repository that is deleted', () => {
  it('while a manifest is pushed has it or is gone, and nobody is answered 500', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await pushEmpty(client, 'going')
      await pushManifest(client, 'going', 'x', artifact())

      const push = () => putManifest(client, 'going', 'y', artifact())
      expect(failuresAmong(await race(round, deleteRepository, push))).toEqual([])

      const tags = await client.get('/v2/going/tags/list')
      const listed = tags.status === 200 ? (json(tags) as { tags: string[] }).tags : []
      for (const tag of ['x', 'y']) {
        const { status } = await client.get(`/v2/going/manifests/${tag}`)
        expect(status).toBe(listed.includes(tag) ? 200 : 404)
      }
    }
  })

  it('while a blob is pushed has it or is gone, and nobody is answered 500', async () => {
    const url = `/v2/going/blobs/uploads/?digest=${sha256('z')}`
    for (let round = 0; round < ROUNDS; round++) {
      await pushEmpty(client, 'going')
      const pushes = () => Promise.all([1, 2, 3].map(() => client.send('POST', url, { body: 'z' })))

      const [deleted, pushed] = await race(round, deleteRepository, pushes)

      expect(failuresAmong([deleted, ...pushed])).toEqual([])
      for (const { status } of pushed) expect([201, 404]).toContain(status)
    }
  })

  it('takes its upload sessions with it', async () => {
    const location = await startUpload(client, 'going')
    expectStatus(await deleteRepository(), 202)
    expectStatus(await client.get(location), 404)
    expectStatus(await client.send('PUT', `${location}?digest=${sha256('z')}`, { body: 'z' }), 404)
  })
})
