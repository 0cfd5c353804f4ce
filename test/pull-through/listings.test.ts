import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, expectError, expectStatus, json, sha256 } from '../acceptance/client.ts'
import {
  artifact,
  type Content,
  descriptorOf,
  document,
  type Image,
  OCI_INDEX,
  pushEmpty,
  pushImage,
  pushManifest,
} from '../acceptance/images.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

const REMOTE = 'library/alpine'
const TAGS = ['3.19', '3.20', 'edge', 'latest']
/** Each way to the same repository. */
const WAYS = [
  'docker.io/library/alpine',
  'docker.io/alpine',
  'mirrors/hub/alpine',
  'alpine?ns=docker.io',
  'library/alpine?ns=docker.io',
  'library/alpine',
  'alpine',
]

let mirror: Mirror
let image: Image
let signature: Content
let report: Content

beforeAll(async () => {
  mirror = await openMirror({ hub: { prefix: 'mirrors/hub', negativeSeconds: 0 } })
  const { client } = mirror.hub
  for (const tag of TAGS) image = await pushImage(client, REMOTE, tag)
  await pushEmpty(client, REMOTE)
  const subject = descriptorOf(image)
  signature = artifact({ subject, artifactType: 'application/vnd.signature' })
  report = artifact({ subject, artifactType: 'application/vnd.report' })
  for (const referrer of [signature, report]) {
    await pushManifest(client, REMOTE, referrer.digest, referrer)
  }
  // What a mirror of Docker lists it has pulled something of.
  expectStatus(await ask('alpine', 'manifests/latest'), 200)
})
afterAll(() => mirror.close())
beforeEach(() => mirror.forget())

const ask = (name: string, rest: string) => mirror.client.get(pathOf(name, rest))

function withQuery(name: string, query: string): string {
  return `${name}${name.includes('?') ? '&' : '?'}${query}`
}

const tagsIn = (answer: Answer) => json(answer) as { name: string; tags: string[] }

const referrersIn = (answer: Answer) =>
  (json(answer) as { manifests: { digest: string }[] }).manifests.map(({ digest }) => digest)

const nextOf = ({ headers }: Answer) =>
  /^<([^>]+)>; rel="next"$/.exec(String(headers['link'] ?? ''))?.[1]

describe.each(WAYS)('by %s', (name) => {
  it('all tags are listed that the upstream has', async () => {
    const answer = await ask(name, 'tags/list')
    expectStatus(answer, 200)
    expect(tagsIn(answer)).toEqual({ name: name.split('?')[0], tags: TAGS })
    expect(answer.headers).not.toHaveProperty('link')
    expect(mirror.asked().map(({ kind }) => kind)).toEqual(['tags'])
  })

  it('page by page, with a link that leads on by the same way', async () => {
    const pages: string[][] = []
    let path: string | undefined = pathOf(withQuery(name, 'n=3'), 'tags/list')
    while (path !== undefined) {
      const answer = await mirror.client.get(path)
      expectStatus(answer, 200)
      pages.push(tagsIn(answer).tags)
      path = nextOf(answer)
      if (path === undefined) break
      const { pathname, searchParams } = new URL(path, 'http://here')
      expect(pathname).toBe(pathOf(name, 'tags/list').split('?')[0])
      expect(searchParams.get('ns')).toBe(name.endsWith('?ns=docker.io') ? 'docker.io' : null)
    }
    expect(pages).toEqual([TAGS.slice(0, 3), TAGS.slice(3)])
  })

  it('referrers are listed, of some type too', async () => {
    const answer = await ask(name, `referrers/${image.digest}`)
    expectStatus(answer, 200)
    expect(answer.headers['content-type']).toBe(OCI_INDEX)
    expect(referrersIn(answer).toSorted()).toEqual([signature.digest, report.digest].toSorted())

    const query = 'artifactType=application/vnd.report'
    const filtered = await ask(withQuery(name, query), `referrers/${image.digest}`)
    expect(referrersIn(filtered)).toEqual([report.digest])
    expect(filtered.headers['oci-filters-applied']).toBe('artifactType')
    expect((await ask(name, `manifests/${report.digest}`)).body).toEqual(report.bytes)
  })
})

describe('an upstream without the API of referrers', () => {
  it.each([
    ['404', { status: 404 }],
    ['405', { status: 405 }],
    ['a page', { status: 200, headers: { 'Content-Type': 'text/html' }, body: '<p>Sign in</p>' }],
  ])('that answers %s is asked for the tag that stands in for it', async (_, refusal) => {
    const { client, proxy } = mirror.hub
    const subject = descriptorOf(image)
    const [older, other] = [artifact({ subject }), artifact({ subject })]
    const index = document(OCI_INDEX, {
      manifests: [
        { ...descriptorOf(older), artifactType: 'application/vnd.older' },
        { ...descriptorOf(other), artifactType: 'application/vnd.other' },
      ],
    })
    for (const each of [older, other]) await pushManifest(client, REMOTE, each.digest, each)
    const tag = image.digest.replace(':', '-')
    await pushManifest(client, REMOTE, tag, index)

    const fault = proxy.answer('referrers', { times: Number.POSITIVE_INFINITY, ...refusal })
    const answer = await ask('docker.io/alpine', `referrers/${image.digest}`)
    const query = 'docker.io/alpine?artifactType=application/vnd.other'
    const filtered = await ask(query, `referrers/${image.digest}`)
    const none = await ask('docker.io/alpine', `referrers/${sha256('nothing')}`)
    fault.clear()
    await client.delete(`/v2/${REMOTE}/manifests/${tag}`)

    expect(referrersIn(answer)).toEqual([older.digest, other.digest])
    expect(referrersIn(filtered)).toEqual([other.digest])
    expectStatus(none, 200)
    expect(referrersIn(none)).toEqual([])
    expect(mirror.asked().map(({ path }) => path)).toContain(`/v2/${REMOTE}/manifests/${tag}`)
  })
})

const failing = async (work: () => Promise<void>) => {
  const message = 'out of order'
  const faults = (['tags', 'referrers'] as const).map((kind) =>
    mirror.hub.proxy.answer(kind, { status: 500, message, times: Number.POSITIVE_INFINITY }),
  )
  try {
    await work()
  } finally {
    for (const fault of faults) fault.clear()
    // So that the breaker counts from the beginning.
    expectStatus(await ask('alpine', 'manifests/3.19'), 200)
    expectStatus(await ask('docker.io/alpine', 'tags/list'), 200)
  }
}

describe('when the upstream fails', () => {
  const warning = '299 - "served as it was: docker.io: 500 unknown: out of order"'

  it('those tags are listed that are kept', async () => {
    await failing(async () => {
      const answer = await ask('library/alpine?ns=docker.io', 'tags/list')
      expect(tagsIn(answer).tags).toContain('latest')
      expect(answer.headers['warning']).toBe(warning)
      expect(answer.headers['cache-status']).toBe('Slipway; hit; fwd=stale')
    })
  })

  it('and those referrers', async () => {
    expectStatus(await ask('docker.io/alpine', `manifests/${signature.digest}`), 200)
    await failing(async () => {
      const answer = await ask('alpine', `referrers/${image.digest}`)
      expect(referrersIn(answer)).toContain(signature.digest)
      expect(answer.headers['warning']).toBe(warning)
    })
  })

  it('and when none are, it is told why', async () => {
    await pushImage(mirror.hub.client, 'library/unseen', 'v1')
    await failing(async () => {
      for (const rest of ['tags/list', `referrers/${sha256('unseen')}`]) {
        const answer = await ask('docker.io/unseen', rest)
        expectError(answer, 503, 'UNAVAILABLE')
        expect(answer.body.toString()).toContain('docker.io: 500 unknown: out of order')
        expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
      }
    })
  })

  it('a repository that it does not know is unknown', async () => {
    expectError(await ask('docker.io/nowhere', 'tags/list'), 404, 'NAME_UNKNOWN')
  })
})
