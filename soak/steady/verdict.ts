import { median } from '../../bench/measure/statistics.ts'
import { AT_REST, LEVELS, type Question, UNDER_LOAD } from './questions.ts'
import { isRest, type Sample } from './sample.ts'
import { slopeOf } from './trend.ts'

/** What one series says. */
export interface Finding {
  readonly what: string
  readonly unit: 'bytes' | 'count'
  /** At the first of what is compared, and at the last. */
  readonly from: number
  readonly to: number
  readonly growth: number
  readonly perThousandRequests: number
  readonly perHour: number
  /** What more than would be a leak. */
  readonly bound: Pick<Question, 'growth' | 'perThousandRequests'>
  readonly isLeak: boolean
}

/**
 * Whether a run shows that nothing is kept which should have been let go.
 *
 * Descriptors have to be back, at the end, where they were before anybody asked for anything.
 * Memory has to be where it was after the warm-up: at rests, when all garbage was collected, by the
 * first and the last of them and by the slope through all, whichever says less, so that one
 * strange rest is no leak. Under load there is more room, as V8 collects when it likes: what counts is
 * the first and the last quarter, and again the slope.
 *
 * @param samples of a whole run, in order
 * @throws Error when there are too few: a rest before the load, one after the warm-up, and one at
 *   the end are needed, and 8 samples under load
 */
export function judge(samples: readonly Sample[]): Finding[] {
  const [start, ...rests] = samples.filter(isRest)
  const end = rests.at(-1)
  const load = samples.filter(({ phase }) => phase === 'load')
  if (start === undefined || end === undefined || rests.length < 2 || load.length < 8) {
    throw new Error(`${rests.length} rests and ${load.length} samples are too few to judge by`)
  }
  return [
    ...LEVELS.map((question) => compare(question, [start, end])),
    ...AT_REST.map((question) => compare(question, rests)),
    ...UNDER_LOAD.map((question) => compareQuarters(question, load)),
  ]
}

function compare<S extends Sample>(question: Question<S>, samples: readonly S[]): Finding {
  const [first, last] = [samples[0]!, samples.at(-1)!]
  const ends = { from: question.value(first), to: question.value(last) }
  return findingOf(question, samples, ends)
}

function compareQuarters(question: Question, samples: readonly Sample[]): Finding {
  const quarter = Math.floor(samples.length / 4)
  const middle = (some: readonly Sample[]) => median(some.map(question.value))
  const ends = { from: middle(samples.slice(0, quarter)), to: middle(samples.slice(-quarter)) }
  return findingOf(question, samples, ends)
}

function findingOf<S extends Sample>(
  { what, unit, growth: most, perThousandRequests: mostPerThousand, value }: Question<S>,
  samples: readonly S[],
  { from, to }: { readonly from: number; readonly to: number },
): Finding {
  const [first, last] = [samples[0]!, samples.at(-1)!]
  const seconds = last.at - first.at
  const bySlope = slopeOf(samples.map((sample) => ({ x: sample.at, y: value(sample) }))) * seconds
  const growth = Math.min(to - from, bySlope)
  const perThousandRequests = (growth / (last.requests - first.requests)) * 1000
  return {
    what,
    unit,
    from,
    to,
    growth,
    perThousandRequests,
    perHour: (growth / seconds) * 3600,
    bound: { growth: most, perThousandRequests: mostPerThousand },
    isLeak: growth > most && perThousandRequests > mostPerThousand,
  }
}
