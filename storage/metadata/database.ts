import {
  DatabaseError,
  Pool,
  type PoolClient,
  type PoolConfig,
  type QueryResult,
  type QueryResultRow,
} from 'pg'

export type { Pool, PoolClient }

/** A pool, or the client of an open transaction: every query function takes either. */
export interface Queryable {
  query<Row extends QueryResultRow>(query: Statement): Promise<QueryResult<Row>>
}

/** `name` makes the server parse and plan the text once for each connection. */
export interface Statement {
  readonly name?: string
  readonly text: string
  readonly values?: unknown[]
  /** In place of the pool's, for a statement that may take long. */
  readonly query_timeout?: number
}

export interface PoolSettings {
  readonly connection: PoolConfig
  readonly size: number
  /**
   * A statement may run for so long. Past it the server cancels it; a server that does not even
   * answer is given up a little later.
   */
  readonly statementMs?: number
  readonly onError: (error: Error) => void
}

/**
 * In the list of a statement's results: its transaction does not wait for the disk. What is
 * committed after it in the usual way makes it durable as well.
 */
export const WITHOUT_WAIT = `set_config('synchronous_commit', 'off', true)`

const ANSWER_MS = 2000

/**
 * Connections in pipeline mode: statements that do not need each other's answers may be sent
 * together and cost one round trip.
 */
export function openPool({ connection, size, statementMs, onError }: PoolSettings): Pool {
  const pool = new Pool({
    ...connection,
    max: size,
    pipeline: true,
    connectionTimeoutMillis: 5000,
    ...(statementMs === undefined ? {} : { query_timeout: statementMs + ANSWER_MS }),
    idleTimeoutMillis: 60_000,
    application_name: 'slipway',
  })
  if (statementMs !== undefined) {
    // Not as a startup parameter: poolers in front of a server refuse those they do not know.
    pool.on('connect', (client) => {
      client.query(`set statement_timeout = ${statementMs}`).catch(() => {})
    })
  }
  // Without a listener an idle connection that breaks would end the process.
  pool.on('error', onError)
  return pool
}

/** Commits what `work` did, or rolls all of it back when `work` throws. */
export async function transaction<T>(
  pool: Pool,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  const tx = new Transaction(client)
  let broken: Error | undefined
  // A connection that breaks between two statements fails the next one; without a listener it
  // would end the process.
  const onError = (error: Error) => {
    broken = error
  }
  client.on('error', onError)
  try {
    const result = await work(tx)
    await tx.commit()
    return result
  } catch (error) {
    await tx.rollback().catch((rollbackError: Error) => {
      broken = rollbackError
    })
    // A server that was demoted will not take this connection's next write either.
    if (isReadOnly(error)) broken = error
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

/**
 * The client of an open transaction. `begin` travels with the first statement, and the last
 * statement may travel with `commit`, so that a transaction costs no round trips of its own.
 */
export class Transaction implements Queryable {
  readonly #client: PoolClient
  #begun = false
  #ended = false

  constructor(client: PoolClient) {
    this.#client = client
  }

  async query<Row extends QueryResultRow>(statement: Statement): Promise<QueryResult<Row>> {
    if (this.#begun) return this.#client.query<Row>(statement)
    this.#begun = true
    const [, result] = await Promise.all([
      this.#client.query('begin'),
      this.#client.query<Row>(statement),
    ])
    return result
  }

  /**
   * Runs the last statement and commits. When the statement fails, the server turns the commit
   * that follows into a rollback.
   */
  async commitWith<Row extends QueryResultRow>(statement: Statement): Promise<QueryResult<Row>> {
    const last = this.query<Row>(statement)
    this.#ended = true
    const [result] = await Promise.all([last, this.#client.query('commit')])
    return result
  }

  commit(): Promise<void> {
    return this.#end('commit')
  }

  rollback(): Promise<void> {
    return this.#end('rollback')
  }

  async #end(statement: 'commit' | 'rollback'): Promise<void> {
    if (this.#ended || !this.#begun) return
    this.#ended = true
    await this.#client.query(statement)
  }
}

/** Error codes of Postgres the program reacts to. PostgreSQL manual, Appendix A. */
const FOREIGN_KEY_VIOLATION = '23503'
const READ_ONLY = '25006'

function isReadOnly(error: unknown): error is Error {
  return error instanceof DatabaseError && error.code === READ_ONLY
}

/** A row that this statement needs was deleted meanwhile. */
export function isForeignKeyViolation(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === FOREIGN_KEY_VIOLATION
}

/**
 * The database could not be reached, is starting, stopping or out of connections, or another
 * request was in the way: the same request may succeed later.
 */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : ''
  if (UNAVAILABLE_CODE.test(code) || UNAVAILABLE_MESSAGE.test(error.message)) return true
  // A missing file is ENOENT as well; a missing socket says that it was connected to.
  return ('syscall' in error && CONNECTING.has(error.syscall)) || NETWORK_CODE.test(code)
}

// 08: connection, 53: out of resources, 57P: shutting down or starting up, 57014: cancelled after
// its time, 40: a deadlock or a conflict that the server resolved against this statement, 25006: a
// standby, or a primary that was demoted.
const UNAVAILABLE_CODE = /^(?:08...|25006|40P01|40001|53[1-4]00|57014|57P0[1-5])$/
const CONNECTING = new Set<unknown>(['connect', 'getaddrinfo'])
const NETWORK_CODE = /^(?:ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT)$/
// Errors that pg raises without a code.
const UNAVAILABLE_MESSAGE =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed)/

/** @throws when the database does not answer */
export async function ping(db: Queryable): Promise<void> {
  await db.query({ text: 'select 1' })
}
