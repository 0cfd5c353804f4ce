import { createHash } from 'node:crypto'
import { short } from '../journal.ts'
import type { Report } from '../report.ts'
import type { Stage } from '../stage.ts'
import { sweepNow } from '../sweep.ts'
import type { BlobRow, Rows } from './rows.ts'

/** Every live row has its bytes, and they are its own. */
async function checkBytes(stage: Stage, { blobs }: Rows, report: Report): Promise<void> {
  for (const blob of blobs.filter(({ state }) => state === 'live')) {
    const problem = await problemWith(stage, blob)
    if (problem === undefined) continue
    const { digest, location } = blob
    report.violation(`blob ${digest} at ${location}: ${problem}`, [short(digest)])
  }
}

async function problemWith(
  { blobs }: Stage,
  { digest, location, sizeBytes }: BlobRow,
): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of blobs.read(location, { first: 0, last: sizeBytes - 1 })) {
      hash.update(chunk)
    }
  } catch (error) {
    return String(error)
  }
  const found = `sha256:${hash.digest('hex')}`
  if (found !== digest) return `its bytes are ${found}`
  const size = await blobs.size(location)
  return size === sizeBytes ? undefined : `it has ${size} bytes, not ${sizeBytes}`
}

/**
 * Bytes lie only where a row says so: that of a blob, or of a session. What a death left between
 * the two is swept later. In a folder that can only be an upload that was never acknowledged.
 *
 * @param unfinished digests of such uploads
 * @returns how many there are
 */
export async function checkPlaces(
  { listPlaces }: Stage,
  { blobs, sessions }: Rows,
  unfinished: ReadonlySet<string>,
  report: Report,
): Promise<number> {
  const deaths = report.figures.kills + report.faultCount
  const known = new Set(blobs.map(({ location }) => location))
  let orphans = 0
  for (const { location, session } of await listPlaces()) {
    if (known.has(location) || (session !== undefined && sessions.has(session))) continue
    const digest = /\/([0-9a-f]{64})\/data$/.exec(location)?.[1]
    orphans++
    const isExcused = digest === undefined ? deaths > 0 : unfinished.has(`sha256:${digest}`)
    if (isExcused) continue
    report.violation(`bytes without a row: ${location}`, [
      session ?? short(`sha256:${digest ?? ''}`),
    ])
  }
  return orphans
}

/** What is swept is just that. */
export async function checkSweep(stage: Stage, rows: Rows, report: Report): Promise<void> {
  await sweepNow(stage)
  await checkBytes(stage, rows, report)
  const known = new Set(rows.blobs.map(({ location }) => location))
  for (const { location, session } of await stage.listPlaces()) {
    if (known.has(location) || (session !== undefined && rows.sessions.has(session))) continue
    report.violation(`no row names ${location}, and no sweep removes it`)
  }
}
