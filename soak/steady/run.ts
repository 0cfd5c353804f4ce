import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Workspace } from '../../test/durability/support/workspace.ts'
import { Random } from '../random.ts'
import { addAccount } from './accounts.ts'
import { Builder } from './images.ts'
import { type Crowd, crowd, eachTenant } from './load.ts'
import type { Options } from './options.ts'
import { Pace } from './pace.ts'
import { Report } from './report.ts'
import { REPOSITORIES } from './repositories.ts'
import type { Phase, Sample } from './sample.ts'
import { Sampler } from './sampler.ts'
import { errorsIn, startServer } from './server.ts'
import { headingLine, lineOf } from './table.ts'
import { Tenant } from './tenant.ts'

const WARM_UP_SHARE = 0.2
const SHORTEST_WARM_UP_SECONDS = 20
const LONGEST_WARM_UP_SECONDS = 600
/** Rests are as often, and twice at least after the warm-up. */
const REST_EVERY_SECONDS = 300
/** Connections close, and work that was put off is done. */
const REST_SECONDS = 6

export interface Outcome {
  readonly report: Report
  readonly samples: readonly Sample[]
}

/** @throws Error when the server does not start, or ends before it is told to */
export async function run(workspace: Workspace, options: Options): Promise<Outcome> {
  const report = new Report()
  const server = await startServer(workspace, options)
  const sampler = await Sampler.open({ workspace, server, report, out: options.out })
  workspace.onClose(async () => sampler.close())
  const account = await addAccount(server)
  const random = new Random(options.seed)
  const builder = new Builder(options.seed)
  const all: Crowd = {
    load: { host: server.host, account, pace: new Pace(options.requestsPerSecond), report },
    builder,
    tenants: REPOSITORIES.map((repository) => new Tenant(repository, builder)),
    requestsPerSecond: options.requestsPerSecond,
    random,
  }
  console.log(headingLine())
  await rest(sampler, 'start')
  await eachTenant(all, (tenant, client) => tenant.prepare(client))
  for (const [phase, seconds] of phasesOf(options.minutes * 60)) {
    await work(all, sampler, { phase, seconds })
    await rest(sampler, 'rest')
  }
  await eachTenant(all, (tenant, client) => tenant.check(client))
  sampler.close()
  const end = await server.stop()
  if (end !== 0) report.violation(`the server ended with ${end} when it was told to stop`)
  for (const line of await errorsIn(workspace.logFile)) report.violation(`it logged: ${line}`)
  return { report, samples: sampler.samples }
}

function phasesOf(seconds: number): [Phase, number][] {
  const share = Math.min(seconds * WARM_UP_SHARE, LONGEST_WARM_UP_SECONDS)
  const warmUp = Math.max(share, SHORTEST_WARM_UP_SECONDS)
  const left = Math.max(seconds - warmUp, SHORTEST_WARM_UP_SECONDS)
  const parts = Math.max(2, Math.round(left / REST_EVERY_SECONDS))
  return [
    ['warm-up', warmUp],
    ...Array.from({ length: parts }, (): [Phase, number] => ['load', left / parts]),
  ]
}

interface Work {
  readonly phase: Phase
  readonly seconds: number
}

async function work(all: Crowd, sampler: Sampler, { phase, seconds }: Work): Promise<void> {
  const ending = new AbortController()
  const { signal } = ending
  setMaxListeners(0, signal) // one for every pause of a client
  const failed = Promise.all([crowd(all, signal), sampler.follow(phase, signal)])
  try {
    await Promise.race([sleep(seconds * 1000, undefined, { signal }), failed])
  } finally {
    ending.abort()
    await failed
  }
}

async function rest(sampler: Sampler, phase: 'start' | 'rest'): Promise<void> {
  await sampler.follow(phase, AbortSignal.timeout(REST_SECONDS * 1000))
  const sample = await sampler.rest(phase)
  console.log(lineOf(sample))
}
