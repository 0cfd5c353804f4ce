import type { Contents, Document } from '../contents.ts'
import { namesOf } from '../deleters.ts'
import { short } from '../journal.ts'
import { keyOf, type Ledger } from '../ledger.ts'
import type { Report } from '../report.ts'
import type { ManifestRow, Rows } from './rows.ts'

/** What was acknowledged and not taken back is there, and nothing else is under its name. */
export function checkAcknowledged(
  { tags, manifests }: Rows,
  { ledger, contents, report }: Checked,
): void {
  const now = performance.now()
  const span = { from: now, to: now }
  const found = new Map(tags.map((row) => [keyOf(row.repository, row.tag), row.digest]))
  const known = [...ledger.tags(), ...tags]
  const all = new Map(
    known.map(({ repository, tag }) => [keyOf(repository, tag), { repository, tag }]),
  )
  for (const [key, { repository, tag }] of all) {
    const possible = ledger.possible(repository, tag, span)
    if (possible.has(found.get(key))) continue
    report.violation(
      `${repository}:${tag} is ${namesOf(new Set([found.get(key)]))}, and must be ${namesOf(possible)}`,
      [
        `${repository}/manifests/${tag}`,
        `repositories/${repository}`,
        ...[...possible].flatMap((digest) => (digest === undefined ? [] : [short(digest)])),
      ],
    )
  }
  const there = new Set(manifests.map((row) => keyOf(row.repository ?? '', row.digest)))
  const repositories = new Set([...all.values()].map(({ repository }) => repository))
  for (const repository of repositories) {
    for (const referrer of contents.referrers) {
      if (there.has(keyOf(repository, referrer.digest))) continue
      if (!isReferrerKept(ledger, repository, referrer)) continue
      report.violation(`${repository} lost ${referrer.name} ${referrer.digest}`, [
        short(referrer.digest),
        short(referrer.subject?.digest ?? ''),
        `repositories/${repository}`,
      ])
    }
  }
}

export interface Checked {
  readonly ledger: Ledger
  readonly contents: Contents
  readonly report: Report
}

/** Whether it was pushed for good, and its subject has been there ever since. */
function isReferrerKept(
  ledger: Ledger,
  repository: string,
  { digest, subject }: Document,
): boolean {
  const from = ledger.pushedSince(repository, digest)
  if (from === undefined || subject === undefined) return false
  const span = { from, to: performance.now() }
  if (ledger.mayBeTaken(repository, digest, span)) return false
  if (subject.subject === undefined) return ledger.isKept(repository, subject.digest, span)
  const subjectSince = ledger.pushedSince(repository, subject.digest)
  return (
    subjectSince !== undefined && subjectSince < from && isReferrerKept(ledger, repository, subject)
  )
}

/** Every manifest has all that it names, in its repository, and its edges say so. */
export function checkEdges({ manifests, blobs, links }: Rows, { contents, report }: Checked): void {
  const live = new Set(blobs.filter(({ state }) => state === 'live').map(({ digest }) => digest))
  const there = new Set(
    manifests
      .filter(({ isDeleted }) => !isDeleted)
      .map((row) => keyOf(row.repository ?? '', row.digest)),
  )
  for (const manifest of manifests) {
    const { repository, digest } = manifest
    const document = contents.byDigest.get(digest)
    const say = (what: string, other: string) =>
      report.violation(`manifest ${digest} of ${repository}: ${what} ${other}`, [
        short(digest),
        short(other),
        `repositories/${repository}`,
      ])
    if (document === undefined || !document.bytes.equals(manifest.bytes)) {
      say('other bytes than were pushed', '')
      continue
    }
    const missing = difference(document.blobs.map(digestOf), manifest.blobs)
    const orphaned = difference(document.children.map(digestOf), manifest.children)
    for (const other of [...missing, ...orphaned]) say('no edge to', other)
    for (const other of manifest.blobs.filter((blob) => !live.has(blob))) say('no blob', other)
    if (repository === null || manifest.isDeleted) continue
    for (const other of manifest.blobs) {
      if (!links.has(keyOf(repository, other))) say('its repository does not serve', other)
    }
    for (const other of manifest.children) {
      if (!there.has(keyOf(repository, other))) say('no child', other)
    }
  }
}

/** With no time that keeps anything, all that is left is what a tag keeps. */
export function checkGarbage(rows: Rows, { report }: Checked): void {
  const { manifests, tags, blobs, deletedRepositories } = rows
  const kept = new Set(tags.map(({ repository, digest }) => keyOf(repository, digest)))
  for (let before = -1; before !== kept.size; ) {
    before = kept.size
    for (const manifest of manifests) keepFrom(manifest, kept)
  }
  const garbage = manifests.filter(
    ({ repository, digest, isDeleted }) => isDeleted || !kept.has(keyOf(repository ?? '', digest)),
  )
  for (const { repository, digest, id } of garbage) {
    report.violation(`manifest ${digest} of ${repository} (${id}) is garbage, and stays`, [
      short(digest),
      `repositories/${repository}`,
    ])
  }
  for (const { digest, state, isNamed } of blobs) {
    if (isNamed && state === 'live') continue
    report.violation(`blob ${digest} (${state}, ${isNamed ? '' : 'not '}named) stays`, [
      short(digest),
    ])
  }
  for (const name of deletedRepositories) {
    report.violation(`deleted repository ${name} stays`, [`repositories/${name}`])
  }
}

function keepFrom({ repository, digest, subject, children }: ManifestRow, kept: Set<string>): void {
  const name = repository ?? ''
  if (subject !== null && kept.has(keyOf(name, subject))) kept.add(keyOf(name, digest))
  if (!kept.has(keyOf(name, digest))) return
  for (const child of children) kept.add(keyOf(name, child))
}

function digestOf({ digest }: { readonly digest: string }): string {
  return digest
}

function difference(all: readonly string[], some: readonly string[]): string[] {
  return all.filter((each) => !some.includes(each))
}
