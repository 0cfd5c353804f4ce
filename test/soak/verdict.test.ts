import { describe, expect, it } from 'vitest'
import { Random } from '../../soak/random.ts'
import type { Sample } from '../../soak/steady/sample.ts'
import { judge } from '../../soak/steady/verdict.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20

const REQUESTS_PER_SECOND = 60
const SAMPLE_SECONDS = 2
/** As much memory comes and goes by itself; of what is live, and of what is resident under load. */
const NOISE = { live: MiB, resident: 60 * MiB }

interface Leak {
  /** Of each request, for good. */
  readonly heapBytes?: number
  readonly bufferBytes?: number
  readonly nativeBytes?: number
  readonly descriptors?: number
  readonly storedBytes?: number
  readonly sessions?: number
}

/** What a run of so many minutes would have measured: a rest, a warm-up, loads with rests between. */
function runOf(minutes: number, leak: Leak = {}, change: (sample: Sample) => Sample = same) {
  const random = new Random(11)
  const noise = (bytes: number) => random.next() * bytes
  const samples: Sample[] = []
  let [at, requests] = [0, 0]
  const take = (phase: Sample['phase']) => {
    const lost = (each = 0) => each * requests
    const isBusy = phase === 'warm-up' || phase === 'load'
    const kept = lost(leak.heapBytes) + lost(leak.bufferBytes) + lost(leak.nativeBytes)
    const sample = {
      ...FLAT,
      at,
      phase,
      requests,
      rssBytes: 130 * MiB + kept + noise(isBusy ? NOISE.resident : NOISE.live),
      descriptors: 33 + lost(leak.descriptors) + (isBusy ? random.from(20, 60) : 0),
      storedBytes: 50 * MiB + lost(leak.storedBytes) + noise(40 * MiB),
      sessions: 10 + lost(leak.sessions) + random.from(0, 20),
    }
    const live = {
      liveHeapBytes: 39 * MiB + lost(leak.heapBytes) + noise(NOISE.live),
      liveExternalBytes: 12 * MiB + lost(leak.bufferBytes) + noise(NOISE.live),
    }
    samples.push(change(isBusy ? sample : { ...sample, ...live }))
  }
  const work = (phase: 'warm-up' | 'load', seconds: number) => {
    for (const end = at + seconds; at < end; at += SAMPLE_SECONDS) {
      requests += REQUESTS_PER_SECOND * SAMPLE_SECONDS
      take(phase)
    }
    take('rest')
  }
  take('start')
  work('warm-up', minutes * 12)
  const parts = Math.max(2, Math.round(minutes / 6))
  for (let part = 0; part < parts; part++) work('load', (minutes * 48) / parts)
  return samples
}

const FLAT: Sample = {
  at: 0,
  phase: 'start',
  requests: 0,
  cpuSeconds: 1,
  rssBytes: 0,
  heapUsedBytes: 50 * MiB,
  heapTotalBytes: 60 * MiB,
  externalBytes: 15 * MiB,
  activeHandles: 8,
  activeResources: 12,
  eventLoopP99Seconds: 0.03,
  descriptors: 0,
  poolConnections: 3,
  storageConnections: 0,
  uploadsInProgress: 0,
  postgresPssBytes: 70 * MiB,
  postgresDescriptors: 800,
  backends: 5,
  databaseBytes: 10 * MiB,
  sessions: 0,
  storedFiles: 300,
  storedBytes: 0,
}

/** As it is right after a load. */
function pooled(sample: Sample): Sample {
  if (sample.phase === 'start') return sample
  const { descriptors } = sample
  const kept = { poolConnections: 10, storageConnections: 30, backends: 12 }
  return { ...sample, ...kept, descriptors: descriptors + 37 }
}

function same(sample: Sample): Sample {
  return sample
}

function leaksIn(samples: readonly Sample[]): string[] {
  return judge(samples)
    .filter(({ isLeak }) => isLeak)
    .map(({ what }) => what)
}

describe('the verdict', () => {
  it.each([1.5, 60])('finds nothing in %s minutes where nothing grows', (minutes) => {
    expect(leaksIn(runOf(minutes))).toEqual([])
  })

  it('finds 20 KiB of heap that each request leaves, in a minute and a half', () => {
    expect(leaksIn(runOf(1.5, { heapBytes: 20 * KiB }))).toContain('live heap')
  })

  it('finds 20 KiB of buffers, and of memory that V8 knows nothing of, as soon', () => {
    expect(leaksIn(runOf(1.5, { bufferBytes: 20 * KiB }))).toContain('live buffers')
    expect(leaksIn(runOf(1.5, { nativeBytes: 20 * KiB }))).toContain('resident, at rest')
  })

  it('finds a KiB of each in an hour', () => {
    expect(leaksIn(runOf(60, { heapBytes: KiB }))).toContain('live heap')
    expect(leaksIn(runOf(60, { bufferBytes: KiB }))).toContain('live buffers')
    expect(leaksIn(runOf(60, { nativeBytes: KiB }))).toContain('resident, at rest')
  })

  it('finds a descriptor that each request leaves, or one of a hundred, or ten thousand', () => {
    expect(leaksIn(runOf(1.5, { descriptors: 1 }))).toEqual(['descriptors'])
    expect(leaksIn(runOf(1.5, { descriptors: 0.01 }))).toEqual(['descriptors'])
    expect(leaksIn(runOf(60, { descriptors: 0.0001 }))).toEqual(['descriptors'])
  })

  it('does not take connections that are kept for later for descriptors that were left', () => {
    expect(leaksIn(runOf(1.5, {}, pooled))).toEqual([])
  })

  it('finds content and upload sessions that nobody removes', () => {
    const found = leaksIn(runOf(60, { storedBytes: 10 * KiB, sessions: 0.01 }))
    expect(found).toEqual(['stored files', 'upload sessions'])
  })

  it('does not take one strange rest for a leak', () => {
    const samples = runOf(60)
    const last = samples.at(-1)!
    const strange = { ...last, liveHeapBytes: 80 * MiB, rssBytes: 400 * MiB }
    expect(leaksIn([...samples.slice(0, -1), strange])).toEqual([])
  })

  it('says by how much, for each thousand requests and each hour', () => {
    const found = judge(runOf(60, { heapBytes: KiB })).find(({ what }) => what === 'live heap')
    expect(found?.perThousandRequests).toBeCloseTo(1000 * KiB, -5)
    expect(found?.perHour).toBeCloseTo(REQUESTS_PER_SECOND * 3600 * KiB, -8)
  })

  it('is refused where there is too little to judge by', () => {
    expect(() => judge(runOf(1.5).slice(0, 12))).toThrow('too few')
  })
})
