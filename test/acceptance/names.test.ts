import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rawRequest } from '../support/raw-http.ts'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  json,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  someBytes,
} from './client.ts'
import { artifact, pushEmpty, pushImage, putManifest } from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
  await pushImage(client, 'a/b', 'x')
  await pushImage(client, 'b', 'x')
})
afterAll(() => running.close())

describe('case 7: path tricks', () => {
  const targets = [
    '/v2/../../etc/passwd/manifests/x',
    '/v2/a/../b/tags/list',
    '/v2/a/../b/manifests/x',
    '/v2/a//b/tags/list',
    '/v2/a/./b/tags/list',
    '/v2/%2e%2e/tags/list',
    '/v2/%2e%2e/%2e%2e/etc/passwd/manifests/x',
    '/v2/a/%2e%2e/b/tags/list',
    '/v2/a\\b/tags/list',
    '/v2/a\\..\\b/tags/list',
    '/v2/a%00/tags/list',
    '/v2/a%00b/manifests/x',
    '/v2/%E0%A4%A/tags/list',
    '/v2/a/b/manifests/%00',
    '/v2/a/b/manifests/%E0%A4%A',
    '/v2/a/b/blobs/..',
    '/v2/a/b/blobs/uploads/..',
    '/v2/a/b/blobs/uploads/../../../x/tags/list',
    '/v2/a/b/manifests/../../b/tags/list',
    '/v2/a/b/tags/list/',
    '/v2/a;b/tags/list',
    '//v2/a/b/tags/list',
    '/v2//tags/list',
    '/v2/a/b/',
    '/v2/.',
    '/V2/a/b/tags/list',
  ]

  for (const target of targets) {
    it(`answers 400 or 404 to ${target}`, async () => {
      const answer = await rawRequest(running.registry.host, 'GET', target)
      expect([400, 404]).toContain(answer.status)
      expect(answer.headers['location']).toBeUndefined()
      const { errors } = JSON.parse(answer.body.toString('utf8')) as { errors: { code: string }[] }
      expect(errors).toHaveLength(1)
    })
  }

  it('refuses the names in them as names', async () => {
    for (const name of ['../../etc/passwd', 'a/../b', 'a//b', 'a/./b', '%2e%2e', 'a\\b', 'a%00b']) {
      const answer = await rawRequest(running.registry.host, 'GET', `/v2/${name}/manifests/x`)
      expectError(answer, 400, 'NAME_INVALID')
    }
  })

  it('refuses a write under such a name, and writes no file outside of the storage', async () => {
    const { host, root } = running.registry
    const beside = await readdir(path.dirname(root))
    for (const name of ['../../escaped', 'a/../../escaped', '..%2fescaped']) {
      const answer = await rawRequest(host, 'POST', `/v2/${name}/blobs/uploads/`)
      expectError(answer, 400, 'NAME_INVALID')
    }
    expect((await readdir(path.dirname(root))).filter((name) => /escaped/.test(name))).toEqual([])
    expect(beside).not.toContain('escaped')
  })

  it('gives no other repository for a backslash, in whatever form the target is', async () => {
    const { host } = running.registry
    for (const target of ['/v2/a\\b/tags/list#x', `http://${host}/v2/a\\b/tags/list`]) {
      const answer = await rawRequest(host, 'GET', target)
      expect([400, 404]).toContain(answer.status)
    }
  })
})

describe('case 8: an encoded slash', () => {
  it('is not decoded in a name', async () => {
    expectError(await client.get('/v2/a%2Fb/tags/list'), 400, 'NAME_INVALID')
    expectError(await client.get('/v2/a%2fb/manifests/x'), 400, 'NAME_INVALID')
    expectError(await client.send('POST', '/v2/a%2Fb/blobs/uploads/'), 400, 'NAME_INVALID')
  })

  it('is not decoded in a tag', async () => {
    for (const tag of ['..%2f..%2fx', 'x%2Fy', '%2e%2e']) {
      const answer = await client.get(`/v2/a/b/manifests/${tag}`)
      expect([400, 404]).toContain(answer.status)
    }
  })

  it('is decoded in the query', async () => {
    const digest = await pushBlob(client, 'a/b', someBytes())
    const mount = `mount=${encodeURIComponent(digest)}&from=a%2Fb`
    expectStatus(await client.send('POST', `/v2/mounted/blobs/uploads/?${mount}`), 201)
  })

  it('of a colon in a digest is', async () => {
    const bytes = someBytes()
    const digest = await pushBlob(client, 'a/b', bytes)
    await expectBlob(client, 'a/b', bytes, digest.replace(':', '%3A'))
  })
})

describe('case 9: names', () => {
  const refused = [
    'Foo/bar',
    'a..b',
    '_a',
    'a-',
    'a___b',
    '-a',
    '.a',
    'a.',
    'a/-b',
    'a/B',
    'a._b',
    'a b',
    'a/%C3%A4',
    'a@b',
    'a:b',
  ]
  for (const name of refused) {
    it(`refuses ${name} on pull and on push`, async () => {
      const { host } = running.registry
      const raw = name.replaceAll(' ', '%20')
      for (const target of [`${raw}/tags/list`, `${raw}/manifests/x`, `${raw}/blobs/sha256:x`]) {
        expectError(await rawRequest(host, 'GET', `/v2/${target}`), 400, 'NAME_INVALID')
      }
      const push = await rawRequest(host, 'POST', `/v2/${raw}/blobs/uploads/`)
      expectError(push, 400, 'NAME_INVALID')
    })
  }

  const accepted = ['a--b', 'a__b', 'a.b', 'a_b', 'a---b', '0/1', 'a/manifests/b', 'tags/list']
  for (const name of [...accepted, 'blobs/uploads', 'manifests', 'v2/v2', 'a/referrers/x']) {
    it(`accepts ${name}`, async () => {
      const { digest, bytes } = await pushImage(client, name, 'x')
      const pulled = await client.get(`/v2/${name}/manifests/x`)
      expectStatus(pulled, 200)
      expect(pulled.headers['docker-content-digest']).toBe(digest)
      expect(pulled.body.equals(bytes)).toBe(true)
      expect(json(await client.get(`/v2/${name}/tags/list`))).toEqual({ name, tags: ['x'] })
    })
  }
})

describe('case 10: the length', () => {
  it('of a name may fill 255 characters together with the host, and not one more', async () => {
    const longest = 255 - client.host.length - 1
    const fits = `a/${'n'.repeat(longest - 2)}`

    await pushImage(client, fits, 'x')
    expectStatus(await client.get(`/v2/${fits}/manifests/x`), 200)

    for (const target of [`${fits}n/manifests/x`, `${fits}n/tags/list`]) {
      expectError(await client.get(`/v2/${target}`), 400, 'NAME_INVALID')
    }
    const push = await client.send('POST', `/v2/${fits}n/blobs/uploads/`)
    expectError(push, 400, 'NAME_INVALID')
  })

  it('of a tag may be 128, and not one more', async () => {
    await pushEmpty(client, 'long-tags')
    const longest = 't'.repeat(128)
    expectStatus(await putManifest(client, 'long-tags', longest, artifact()), 201)
    expectStatus(await client.get(`/v2/long-tags/manifests/${longest}`), 200)

    expectError(
      await putManifest(client, 'long-tags', `${longest}t`, artifact()),
      400,
      'TAG_INVALID',
    )
    expect([400, 404]).toContain((await client.get(`/v2/long-tags/manifests/${longest}t`)).status)
  })

  it('of an answer to a refused name stays small', async () => {
    const answer = await client.get(`/v2/${'n'.repeat(8000)}/tags/list`)
    expectError(answer, 400, 'NAME_INVALID')
    expect(answer.body.length).toBeLessThan(1000)
  })

  for (const tag of ['.x', '-x', 'x+y', 'x@y', 'x%20y', '%C3%A4']) {
    it(`does not make a tag of ${tag}`, async () => {
      const { host } = running.registry
      expectError(await putManifest(client, 'a/b', tag, artifact()), 400, 'TAG_INVALID')
      expect([400, 404]).toContain(
        (await rawRequest(host, 'GET', `/v2/a/b/manifests/${tag}`)).status,
      )
    })
  }
})
