import { Random } from '../random.ts'
import { Client, type Load, TryAgain } from './client.ts'
import { idle } from './idlers.ts'
import type { Builder } from './images.ts'
import { DEFAULT_RATE } from './options.ts'
import { pause } from './pace.ts'
import { type Nuisance, PER_MINUTE, Strangers } from './strangers.ts'
import type { Tenant } from './tenant.ts'

/** Of what is usual: more sessions would be left open than the server drops. */
const MOST_TIMES = 2

export interface Crowd {
  readonly load: Load
  readonly builder: Builder
  readonly tenants: readonly Tenant[]
  readonly requestsPerSecond: number
  /** Draws seeds, so that no two clients do the same. */
  readonly random: Random
}

/** One client for each repository, in turn, until all have done `work`. */
export async function eachTenant(
  { load, tenants, random }: Crowd,
  work: (tenant: Tenant, client: Client) => Promise<void>,
): Promise<void> {
  for (const tenant of tenants) {
    const client = new Client(load, randomFrom(random), new AbortController().signal)
    try {
      await work(tenant, client)
    } finally {
      client.close()
    }
  }
}

/** All clients at once, until `signal`; then every connection is closed. */
export async function crowd(all: Crowd, signal: AbortSignal): Promise<void> {
  const { load, builder, tenants, random } = all
  const clients: Client[] = []
  const newClient = () => {
    const client = new Client(load, randomFrom(random), signal)
    clients.push(client)
    return client
  }
  const strangers = new Strangers(newClient(), builder, signal)
  const nuisances = Object.keys(PER_MINUTE) as Nuisance[]
  try {
    await Promise.all([
      ...tenants.map((tenant) => tenant.run(newClient())),
      ...nuisances.map((nuisance) => repeat(all, { strangers, nuisance, signal })),
      idle(load, randomFrom(random), signal),
    ])
  } finally {
    for (const client of clients) client.close()
  }
}

interface Repeated {
  readonly strangers: Strangers
  readonly nuisance: Nuisance
  readonly signal: AbortSignal
}

async function repeat(all: Crowd, { strangers, nuisance, signal }: Repeated): Promise<void> {
  const random = randomFrom(all.random)
  const perMinute =
    PER_MINUTE[nuisance] * Math.min(MOST_TIMES, all.requestsPerSecond / DEFAULT_RATE)
  for (;;) {
    await pause((2 * random.next() * 60_000) / perMinute, signal)
    if (signal.aborted) return
    await strangers.do(nuisance).catch((error: Error) => {
      if (!(error instanceof TryAgain)) all.load.report.violation(`${nuisance}: ${error.message}`)
    })
  }
}

function randomFrom(random: Random): Random {
  return new Random(random.from(1, 2 ** 30))
}
