import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  json,
  type RunningRegistry,
  runRegistry,
  sha256,
} from './client.ts'
import {
  artifact,
  type Content,
  descriptorOf,
  document,
  EMPTY,
  OCI_INDEX,
  pushEmpty,
  pushImage,
  pushManifest,
} from './images.ts'

interface Referrer {
  readonly mediaType: string
  readonly size: number
  readonly digest: string
  readonly artifactType?: string
  readonly annotations?: Record<string, string>
}

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

function referrersIn(answer: Answer): Referrer[] {
  expectStatus(answer, 200)
  expect(answer.headers['content-type']).toBe(OCI_INDEX)
  const index = JSON.parse(answer.body.toString('utf8')) as { manifests: Referrer[] }
  expect(index).toMatchObject({ schemaVersion: 2, mediaType: OCI_INDEX })
  expect(Array.isArray(index.manifests)).toBe(true)
  return index.manifests
}

/** The path of the next page. */
function nextOf({ headers }: Answer): string | undefined {
  return /^<(\/v2\/[^>]+)>; rel="next"$/.exec(String(headers['link'] ?? ''))?.[1]
}

describe('case 35: referrers', () => {
  let subject: Content
  const digests: string[] = []
  const types = ['application/a+json', 'application/b', 'application/c', 'application/a']
  beforeAll(async () => {
    subject = await pushImage(client, 'case35', 'x')
    await pushEmpty(client, 'case35')
    for (const artifactType of types) {
      const content = artifact({ subject: descriptorOf(subject), artifactType })
      await pushManifest(client, 'case35', content.digest, content)
      digests.push(content.digest)
    }
  })
  const list = (query = '') => client.get(`/v2/case35/referrers/${subject.digest}${query}`)

  it('of what nobody refers to, or nobody knows, are none', async () => {
    const digest = sha256('nobody knows')
    expect(referrersIn(await client.get(`/v2/case35/referrers/${digests[0]}`))).toEqual([])
    expect(referrersIn(await client.get(`/v2/case35/referrers/${digest}`))).toEqual([])
    expect(referrersIn(await client.get(`/v2/case35-never/referrers/${digest}`))).toEqual([])
    expect(referrersIn(await client.get(`/v2/case35/referrers/sha256:${'0'.repeat(64)}`))).toEqual(
      [],
    )
  })

  for (const digest of ['sha256:zz', 'x', 'md5:d41d8cd98f00b204e9800998ecf8427e', 'sha256:']) {
    it(`of ${digest} is 400`, async () => {
      expectError(await client.get(`/v2/case35/referrers/${digest}`), 400, 'DIGEST_INVALID')
    })
  }

  it('come in the order they were pushed', async () => {
    const answer = await list()
    expect(referrersIn(answer).map(({ digest }) => digest)).toEqual(digests)
    expect(answer.headers['oci-filters-applied']).toBeUndefined()
    expect(nextOf(answer)).toBeUndefined()
  })

  it('may be asked for by several types, which are united', async () => {
    const answer = await list('?artifactType=application%2Fb&artifactType=application%2Fc')
    expect(referrersIn(answer).map(({ digest }) => digest)).toEqual([digests[1], digests[2]])
    expect(answer.headers['oci-filters-applied']).toBe('artifactType')
  })

  it('match a type exactly, with its plus sign encoded', async () => {
    const answer = await list('?artifactType=application/a%2Bjson')
    expect(referrersIn(answer).map(({ digest }) => digest)).toEqual([digests[0]])
    expect(referrersIn(await list('?artifactType=application/'))).toEqual([])
    expect(referrersIn(await list('?artifactType=application/A'))).toEqual([])
  })

  it('take no harm from a type that is none', async () => {
    for (const type of ['%00', '%FF', '%E0%A4%A', "'", '..']) {
      const { status } = await list(`?artifactType=${type}`)
      expect([200, 400]).toContain(status)
    }
    for (const last of ['%00', 'x', '-1', '9'.repeat(30)]) {
      expect([200, 400]).toContain((await list(`?last=${last}`)).status)
    }
  })
})

describe('a descriptor of a referrer', () => {
  const annotations = { 'org.example.one': '1', 'org.example.two': 'zwei ü' }
  it('shows the type, of an image by default that of its config, and all annotations', async () => {
    await pushEmpty(client, 'shown')
    const subject = descriptorOf(artifact())
    const own = artifact({ subject, artifactType: 'application/own', annotations })
    const config = { ...EMPTY, mediaType: 'application/vnd.example.config' }
    const ofConfig = artifact({ subject, config })
    const empty = artifact({ subject, config, artifactType: '' })
    const index = document(OCI_INDEX, { manifests: [], subject })
    const all = [own, ofConfig, empty, index]
    for (const content of all) await pushManifest(client, 'shown', content.digest, content)

    const shown = referrersIn(await client.get(`/v2/shown/referrers/${subject.digest}`))

    expect(shown.map(({ artifactType }) => artifactType)).toEqual([
      'application/own',
      config.mediaType,
      config.mediaType,
      undefined,
    ])
    expect(shown[0]?.annotations).toEqual(annotations)
    for (const [position, content] of all.entries()) {
      expect(shown[position]).toMatchObject(descriptorOf(content))
    }
  })

  it('is shown once the subject comes, and no more when the referrer goes', async () => {
    await pushEmpty(client, 'later')
    const subject = artifact()
    const referrer = artifact({ subject: descriptorOf(subject) })
    const list = async () => referrersIn(await client.get(`/v2/later/referrers/${subject.digest}`))
    await pushManifest(client, 'later', referrer.digest, referrer)
    expect(await list()).toHaveLength(1)
    await pushManifest(client, 'later', subject.digest, subject)
    expect(await list()).toHaveLength(1)

    expectStatus(await client.delete(`/v2/later/manifests/${referrer.digest}`), 202)

    expect(await list()).toEqual([])
    expectStatus(await client.get(`/v2/later/manifests/${subject.digest}`), 200)
  })
})

describe('case 36, with 2 000 referrers: more than a manifest may hold', () => {
  const MAX_BYTES = 4 * 2 ** 20
  const subject = descriptorOf(artifact())
  const pushed: string[] = []

  async function push(number: number): Promise<string> {
    const artifactType = number % 2 === 0 ? 'application/even+x' : 'application/odd'
    const annotations = { number: String(number), padding: 'x'.repeat(4000) }
    const content = artifact({ subject, artifactType, annotations })
    await pushManifest(client, 'case36', content.digest, content)
    return content.digest
  }

  beforeAll(async () => {
    await pushEmpty(client, 'case36')
    for (let number = 0; number < 2000; number++) pushed.push(await push(number))
  }, 120_000)

  /** All pages; one more referrer is pushed between two of them. */
  async function follow(query: string): Promise<{ seen: Referrer[]; pages: number }> {
    const seen: Referrer[] = []
    let path: string | undefined = `/v2/case36/referrers/${subject.digest}${query}`
    let pages = 0
    for (; path !== undefined; pages++) {
      const answer: Answer = await client.get(path)
      expect(answer.body.length).toBeLessThanOrEqual(MAX_BYTES)
      seen.push(...referrersIn(answer))
      path = nextOf(answer)
      if (pages === 0) pushed.push(await push(pushed.length))
    }
    return { seen, pages }
  }

  it('come in pages of at most 4 MiB, none twice, none left out, in push order', async () => {
    const { seen, pages } = await follow('')
    expect(pages).toBeGreaterThan(1)
    expect(pages).toBeLessThan(5)
    expect(seen.map(({ digest }) => digest)).toEqual(pushed)
  })

  it('keep their filter from page to page', async () => {
    const { seen, pages } = await follow('?artifactType=application/even%2Bx')
    const even = pushed.filter((_, number) => number % 2 === 0)
    expect(pages).toBeGreaterThan(1)
    expect(seen.map(({ digest }) => digest)).toEqual(even)
  })
})

it('a referrers list is JSON that clients can read', async () => {
  const answer = await client.get(`/v2/case35/referrers/${sha256('x')}`)
  expect(json(answer)).toEqual({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] })
})
