/* What every server says when nothing happens. */
import { exchange } from '../../test/durability/support/exchange.ts'
import { digestOf } from '../../test/durability/support/pushes.ts'
import { type Contents, REPOSITORIES } from '../contents.ts'
import type { Replica } from '../fleet.ts'
import { short } from '../journal.ts'
import { keyOf } from '../ledger.ts'
import type { Report } from '../report.ts'
import type { Rows } from './rows.ts'

interface Asking {
  readonly replica: Replica
  readonly report: Report
  readonly contents: Contents
  /** Paths that were pulled from it already. */
  readonly seen: Set<string>
}

export async function checkServed(
  replica: Replica,
  rows: Rows,
  { report, contents }: Pick<Asking, 'report' | 'contents'>,
): Promise<void> {
  const asking = { replica, report, contents, seen: new Set<string>() }
  await expectList(asking, '/v2/_catalog?n=1000', { key: 'repositories', expected: rows.listed })
  const withManifest = new Set(
    rows.manifests.flatMap(({ repository, isDeleted }) =>
      repository === null || isDeleted ? [] : [repository],
    ),
  )
  const holding = [...withManifest].toSorted()
  if (holding.join() !== rows.listed.join()) {
    report.violation(`the catalog lists ${rows.listed.join()}, and not ${holding.join()}`)
  }
  for (const repository of holding) {
    const expected = rows.tags.filter((row) => row.repository === repository)
    const path = `/v2/${repository}/tags/list`
    await expectList(asking, path, { key: 'tags', expected: expected.map(({ tag }) => tag) })
    for (const { tag, digest } of expected) {
      await expectManifest(asking, repository, { reference: tag, digest })
    }
  }
  await checkReferrers(asking, rows)
  await expectNothingElse(asking, rows)
}

/** What was collected is not remembered either. */
async function expectNothingElse(asking: Asking, { manifests, links }: Rows): Promise<void> {
  const { contents, report, replica } = asking
  const there = new Set(
    manifests.map(({ repository, digest }) => `/v2/${repository}/manifests/${digest}`),
  )
  for (const link of links) there.add(`/v2/${link.replace(' ', '/blobs/')}`)
  const paths = REPOSITORIES.flatMap((repository) => [
    ...[...contents.byDigest.keys()].map((digest) => `/v2/${repository}/manifests/${digest}`),
    ...[...contents.blobs.keys()].map((digest) => `/v2/${repository}/blobs/${digest}`),
  ])
  for (const path of paths.filter((each) => !there.has(each))) {
    const { status } = await get(asking, path)
    if (status === 404) continue
    report.violation(`GET ${path} at ${replica.name}: ${status}, and it is gone`, [
      short(path.slice(path.lastIndexOf('/') + 1)),
    ])
  }
}

async function expectManifest(
  asking: Asking,
  repository: string,
  { reference, digest }: { readonly reference: string; readonly digest: string },
): Promise<void> {
  await expectBytes(asking, `/v2/${repository}/manifests/${reference}`, digest)
  const document = asking.contents.byDigest.get(digest)
  for (const child of document?.children ?? []) {
    await expectManifest(asking, repository, { reference: child.digest, digest: child.digest })
  }
  for (const blob of document?.blobs ?? []) {
    await expectBytes(asking, `/v2/${repository}/blobs/${blob.digest}`, blob.digest)
  }
}

async function expectBytes(asking: Asking, path: string, digest: string): Promise<void> {
  if (asking.seen.has(path)) return
  asking.seen.add(path)
  const { status, body } = await get(asking, path)
  if (status === 200 && digestOf(body) === digest) return
  const { replica, report } = asking
  const what = status === 200 ? `bytes of ${digestOf(body)}` : `${status} ${body.toString()}`
  report.violation(`GET ${path} at ${replica.name}: ${what}, not ${digest}`, [
    short(digest),
    path.replace('/v2/', ''),
  ])
}

async function expectList(
  asking: Asking,
  path: string,
  { key, expected }: { readonly key: string; readonly expected: readonly string[] },
): Promise<void> {
  const { body } = await get(asking, path)
  const document = JSON.parse(body.toString()) as Record<string, string[] | null>
  const found = document[key] ?? []
  if (found.join() === expected.join()) return
  asking.report.violation(
    `GET ${path} at ${asking.replica.name}: ${found.join() || 'none'}, and not ${expected.join()}`,
  )
}

async function checkReferrers(asking: Asking, { manifests }: Rows): Promise<void> {
  const expected = new Map<string, string[]>()
  for (const { repository, digest, subject, isDeleted } of manifests) {
    if (repository === null || subject === null || isDeleted) continue
    const key = keyOf(repository, subject)
    expected.set(key, [...(expected.get(key) ?? []), digest])
  }
  for (const [key, digests] of expected) {
    const [repository, subject] = key.split(' ')
    const path = `/v2/${repository}/referrers/${subject}`
    const { body } = await get(asking, path)
    const listed = (JSON.parse(body.toString()) as { manifests?: { digest: string }[] }).manifests
    const found = (listed ?? []).map(({ digest }) => digest).toSorted()
    if (found.join() === digests.toSorted().join()) continue
    asking.report.violation(
      `GET ${path} at ${asking.replica.name}: ${found.join()}`,
      digests.map((digest) => short(digest)),
    )
  }
}

function get({ replica }: Asking, path: string) {
  return exchange(replica.server.host, { method: 'GET', path })
}
