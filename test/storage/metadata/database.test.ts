import { type AddressInfo, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  isForeignKeyViolation,
  isUnavailable,
  openPool,
  type PoolClient,
  ping,
  transaction,
} from '../../../storage/metadata/database.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await openTestDatabase()
})
afterAll(() => database.close())

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing failed')
}

describe('a failure that may pass', () => {
  it('is that nobody listens', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    expect(isUnavailable(await failureOf(pingOnce({ host: '127.0.0.1', port })))).toBe(true)
  })

  it('is that the host is not known, or the socket is not there', async () => {
    const unknown = await failureOf(pingOnce({ host: 'slipway-test.invalid', port: 5432 }))
    expect(isUnavailable(unknown)).toBe(true)
    const noSocket = await failureOf(pingOnce({ host: '/nonexistent', port: 5432 }))
    expect(isUnavailable(noSocket)).toBe(true)
  })

  it('is that the server hangs up at once', async () => {
    const server = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    expect(isUnavailable(await failureOf(pingOnce({ host: '127.0.0.1', port })))).toBe(true)
  })

  it('is that the session is cut by the server', async () => {
    const { pool } = database
    // What the next test demands of the program, so that this one does not end with it.
    pool.once('acquire', (client) => client.on('error', () => {}))
    const failure = await failureOf(
      transaction(pool, async (tx) => {
        await tx.query({ text: 'select pg_terminate_backend(pg_backend_pid())' })
      }),
    )
    expect(isUnavailable(failure)).toBe(true)
    await expect(ping(pool)).resolves.toBeUndefined()
  })

  it('does not end the process when it meets a connection that a transaction has', async () => {
    const { pool } = database
    let client: PoolClient | undefined
    pool.once('acquire', (acquired) => {
      client = acquired
    })
    // An error event without a listener is an exception that nobody catches.
    await transaction(pool, async () => {
      expect(client?.listenerCount('error')).toBeGreaterThan(0)
    })
  })

  it.each(['08006', '08001', '53300', '57P01', '57P02', '57P03', '57P05'])(
    'has the code %s',
    (code) => {
      expect(isUnavailable(Object.assign(new Error('x'), { code }))).toBe(true)
    },
  )
})

describe('a failure that is ours', () => {
  it('is a wrong statement', async () => {
    const failure = await failureOf(database.pool.query('select nonsense'))
    expect(isUnavailable(failure)).toBe(false)
    expect(isForeignKeyViolation(failure)).toBe(false)
  })

  it('is a row that was deleted meanwhile', async () => {
    const failure = await failureOf(
      database.pool.query(
        `insert into repository_blobs (repository_id, digest) values (0, 'none')`,
      ),
    )
    expect(isForeignKeyViolation(failure)).toBe(true)
    expect(isUnavailable(failure)).toBe(false)
  })

  it.each([undefined, null, 'ECONNREFUSED', {}, new Error('x'), new TypeError('Client')])(
    'is %s',
    (thrown) => {
      expect(isUnavailable(thrown)).toBe(false)
    },
  )

  it('is a broken file of our own', () => {
    const failure = Object.assign(new Error('x'), { code: 'ENOENT', syscall: 'open' })
    expect(isUnavailable(failure)).toBe(false)
  })
})

describe('a transaction', () => {
  it('keeps all of its work', async () => {
    await transaction(database.pool, async (tx) => {
      await tx.query(insert('kept/one'))
      await tx.query(insert('kept/two'))
    })
    expect(await count('kept/one')).toBe(1)
    expect(await count('kept/two')).toBe(1)
  })

  it('keeps nothing when something in it fails, wherever', async () => {
    const { pool } = database
    await expect(
      transaction(pool, async (tx) => {
        await tx.query(insert('lost/one'))
        throw new Error('after')
      }),
    ).rejects.toThrow('after')
    await expect(
      transaction(pool, async (tx) => {
        await tx.query(insert('lost/two'))
        await tx.query({ text: 'select nonsense' })
      }),
    ).rejects.toThrow('nonsense')
    await expect(
      transaction(pool, async (tx) => {
        await tx.query(insert('lost/three'))
        await tx.commitWith({ text: 'select nonsense' })
      }),
    ).rejects.toThrow('nonsense')
    await expect(transaction(pool, (tx) => tx.commitWith({ text: 'select 1/0' }))).rejects.toThrow(
      'division by zero',
    )
    for (const name of ['lost/one', 'lost/two', 'lost/three']) expect(await count(name)).toBe(0)
  })

  it('commits with its last statement', async () => {
    await transaction(database.pool, (tx) => tx.commitWith(insert('kept/last')))
    expect(await count('kept/last')).toBe(1)
  })

  it('sends statements together that do not need each other', async () => {
    await transaction(database.pool, async (tx) => {
      await Promise.all([tx.query(insert('both/one')), tx.query(insert('both/two'))])
      throw new Error('undone')
    }).catch(() => {})
    expect(await count('both/one')).toBe(0)
    expect(await count('both/two')).toBe(0)
  })

  it('may do nothing', async () => {
    expect(await transaction(database.pool, async () => 5)).toBe(5)
  })

  it('gives its connection back, however it ends', async () => {
    const { pool } = database
    for (let turn = 0; turn < 30; turn++) {
      await transaction(pool, async (tx) => {
        await tx.query({ text: turn % 2 === 0 ? 'select 1' : 'select nonsense' })
      }).catch(() => {})
    }
    expect(pool.waitingCount).toBe(0)
    expect(pool.idleCount).toBe(pool.totalCount)
    const { rows } = await pool.query(
      `select count(*)::int as open from pg_stat_activity
       where datname = current_database() and state like 'idle in transaction%'`,
    )
    expect(rows).toEqual([{ open: 0 }])
  })
})

async function pingOnce(target: { host: string; port: number }): Promise<void> {
  const connection = { ...database.connection, ...target }
  const pool = openPool({ connection, size: 1, onError: () => {} })
  try {
    await ping(pool)
  } finally {
    await pool.end()
  }
}

function insert(name: string) {
  return { text: 'insert into repositories (name) values ($1)', values: [name] }
}

async function count(name: string): Promise<number | null> {
  const { rowCount } = await database.pool.query('select from repositories where name = $1', [name])
  return rowCount
}
