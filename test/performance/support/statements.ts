import type { Pool, PoolClient } from '../../../storage/metadata/database.ts'

/** What a pool sent while something was done. */
export interface Sent {
  /** Names, or the beginnings of texts that have none, in order. */
  readonly statements: readonly string[]
  /** Times that something was sent on a connection on which nothing was waited for. */
  readonly roundTrips: number
}

/** What requests leave to be written together, whoever asks meanwhile. */
const GATHERED = new Set(['insert_audit_events'])

type Query = (...args: unknown[]) => unknown

/** Counts what goes by way of `pool`, transactions and all. */
export class StatementCounter {
  #statements: string[] = []
  #roundTrips = 0
  readonly #known = new WeakSet<PoolClient>()

  constructor(pool: Pool) {
    pool.on('acquire', (client) => this.#follow(client))
  }

  async during(work: () => Promise<unknown>): Promise<Sent> {
    this.#statements = []
    this.#roundTrips = 0
    await work()
    return { statements: this.#statements, roundTrips: this.#roundTrips }
  }

  #follow(client: PoolClient): void {
    if (this.#known.has(client)) return
    this.#known.add(client)
    const query = client.query.bind(client) as Query
    let waiting = 0
    const settle = () => void waiting--
    const counted: Query = (...args) => {
      if (GATHERED.has(nameOf(args[0]))) return query(...args)
      this.#statements.push(nameOf(args[0]))
      if (waiting++ === 0) this.#roundTrips++
      // The pool passes a function, others take a promise.
      const callback = args.at(-1)
      if (typeof callback === 'function') {
        return query(...args.slice(0, -1), (...results: unknown[]) => {
          settle()
          return (callback as Query)(...results)
        })
      }
      const result = query(...args) as Promise<unknown>
      result.then(settle, settle)
      return result
    }
    client.query = counted as PoolClient['query']
  }
}

function nameOf(statement: unknown): string {
  const { name, text } = statement as { name?: string; text?: string }
  return name ?? (text ?? String(statement)).slice(0, 40)
}
