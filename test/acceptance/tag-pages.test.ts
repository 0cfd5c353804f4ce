import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectStatus,
  json,
  type RunningRegistry,
  runRegistry,
} from './client.ts'
import { artifact, type Content, pushEmpty, pushManifest } from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

/** What happens to the list between two of its pages. */
interface Change {
  readonly added: readonly string[]
  /** Picks one of the tags that may go. */
  readonly removed: number
}

interface Listing {
  readonly staying: readonly string[]
  readonly leaving: readonly string[]
  readonly n: number
  readonly changes: readonly Change[]
}

const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,3}$/)
const change = fc.record({ added: fc.array(tag, { maxLength: 2 }), removed: fc.nat() })
const listing: fc.Arbitrary<Listing> = fc.record({
  staying: fc.uniqueArray(tag, { minLength: 1, maxLength: 20 }),
  leaving: fc.uniqueArray(tag, { maxLength: 8 }),
  n: fc.integer({ min: 1, max: 6 }),
  changes: fc.array(change, { minLength: 1, maxLength: 10 }),
})

let repositories = 0

it('case 37: following Links shows each tag that was there all along exactly once', async () => {
  await fc.assert(
    fc.asyncProperty(listing, async ({ staying, leaving, n, changes }) => {
      const repository = `pages/${repositories++}`
      const content = artifact()
      await pushEmpty(client, repository)
      await setTags(repository, content, [...staying, ...leaving])
      const mayGo = leaving.filter((name) => !staying.includes(name))
      const seen: string[] = []
      let path: string | undefined = `/v2/${repository}/tags/list?n=${n}`
      for (let page = 0; path !== undefined; page++) {
        const answer: Answer = await client.get(path)
        expectStatus(answer, 200)
        const { tags } = json(answer) as { tags: string[] }
        expect(tags.length).toBeLessThanOrEqual(n)
        seen.push(...tags)
        path = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers['link'] ?? ''))?.[1]
        const { added, removed } = changes[page % changes.length]!
        await setTags(repository, content, added)
        const leaver = mayGo[removed % mayGo.length]
        if (leaver !== undefined) await client.delete(`/v2/${repository}/manifests/${leaver}`)
      }
      expect(seen).toEqual([...new Set(seen)].toSorted(compareBytes))
      const stayed = seen.filter((name) => staying.includes(name))
      expect(stayed).toEqual(staying.toSorted(compareBytes))
    }),
    { numRuns: 25 },
  )
})

async function setTags(repository: string, content: Content, tags: readonly string[]) {
  if (tags.length === 0) return
  const query = tags.map((name) => `tag=${name}`).join('&')
  await pushManifest(client, repository, `${content.digest}?${query}`, content)
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
