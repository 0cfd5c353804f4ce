import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectStatus,
  locationOf,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
  sha512,
  someBytes,
} from './client.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

const mount = (repository: string, query: string) =>
  client.send('POST', `/v2/${repository}/blobs/uploads/?${query}`)

describe('case 23, with rights to everything: a mount', () => {
  it('of what the source has can be pulled at once', async () => {
    for (const digestOf of [sha256, sha512]) {
      const blob = someBytes()
      const digest = await pushBlob(client, 'source', blob, digestOf(blob))
      const answer = await mount('target', `mount=${digest}&from=source`)
      expectStatus(answer, 201)
      expect(locationOf(answer)).toBe(`/v2/target/blobs/${digest}`)
      expect(answer.headers['docker-content-digest']).toBe(digest)
      expect(answer.headers['content-length']).toBe('0')
      const head = await client.head(`/v2/target/blobs/${digest}`)
      expectStatus(head, 200)
      expect(head.headers['content-length']).toBe('64')
      await expectBlob(client, 'target', blob, digest)
    }
  })

  it('finds what a HEAD has just missed', async () => {
    const digest = await pushBlob(client, 'source', someBytes())
    expectStatus(await client.head(`/v2/target/blobs/${digest}`), 404)
    expectStatus(await mount('target', `mount=${digest}&from=source`), 201)
    expectStatus(await client.head(`/v2/target/blobs/${digest}`), 200)
  })

  it('works with everything in it percent-encoded, in any order', async () => {
    const digest = await pushBlob(client, 'a/source', someBytes())
    const query = `from=a%2Fsource&mount=${encodeURIComponent(digest)}`
    expectStatus(await mount('target', query), 201)
  })

  it('outlives the deletion of its source', async () => {
    const blob = someBytes()
    const digest = await pushBlob(client, 'source', blob)
    await mount('target', `mount=${digest}&from=source`)
    expectStatus(await client.delete(`/v2/source/blobs/${digest}`), 202)
    await expectBlob(client, 'target', blob)
    expectStatus(await mount('late', `mount=${digest}&from=source`), 202)
  })

  it('without from finds any repository that may be read', async () => {
    const blob = someBytes()
    const digest = await pushBlob(client, 'source', blob)
    expectStatus(await mount('anonymous', `mount=${digest}`), 201)
    await expectBlob(client, 'anonymous', blob)
  })

  const here = sha256('only in the repository named source')
  const hopeless = {
    'whose source lacks it': `mount=${sha256('nobody has this')}&from=source`,
    'whose source does not exist': `mount=${here}&from=nobody`,
    'whose source is no name': `mount=${here}&from=No/../Name`,
    'of a malformed digest': 'mount=sha256:XYZ&from=source',
    'of an unknown algorithm': 'mount=md5:d41d8cd98f00b204e9800998ecf8427e&from=source',
    'of nothing': 'mount=&from=source',
    'from two repositories': `mount=${here}&from=source&from=target`,
    'of what nobody has, without from': `mount=${sha256('nobody has this')}`,
  }
  for (const [what, query] of Object.entries(hopeless)) {
    it(`${what} is an upload`, async () => {
      await pushBlob(client, 'source', 'only in the repository named source')
      const answer = await mount('hopeless', query)
      expectStatus(answer, 202)
      const blob = someBytes()
      const url = `${locationOf(answer)}?digest=${sha256(blob)}`
      expectStatus(await client.send('PUT', url, { body: blob }), 201)
      await expectBlob(client, 'hopeless', blob)
      expectStatus(await client.head(`/v2/hopeless/blobs/${here}`), 404)
    })
  }

  it('that failed may be given back with DELETE, as skopeo does', async () => {
    const answer = await mount('hopeless', `mount=${sha256('nobody has this')}&from=source`)
    expectStatus(await client.delete(locationOf(answer)), 204)
  })

  it('into the repository that has it is no error', async () => {
    const digest = await pushBlob(client, 'source', someBytes())
    expectStatus(await mount('source', `mount=${digest}&from=source`), 201)
  })
})
