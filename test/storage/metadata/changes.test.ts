import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, it, type TestContext } from 'vitest'
import { Changes, type Message } from '../../../storage/metadata/changes.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { openDatabaseProxy } from '../../durability/support/database-proxy.ts'
import { until } from '../../durability/support/workspace.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

/** One of the processes that share a database. */
interface Process {
  readonly changes: Changes
  /** What it was told, in order. */
  readonly heard: Message[]
  /** Level and message of each line. */
  readonly log: string[]
}

const HEARD = 'info changes by other processes are heard, answers are cached'
const UNHEARD = 'warn changes by other processes are not heard, nothing is cached'

/** A database with a proxy before it, for one test: they mostly wait, so they run together. */
async function openStage(onTestFinished: TestContext['onTestFinished']) {
  const database = await openTestDatabase()
  const { host, port, user, database: name } = database.connection
  const proxy = await openDatabaseProxy(path.join(host, `.s.PGSQL.${port}`))
  const proxied = { host: '127.0.0.1', port: proxy.port, user, database: name }
  const members: Changes[] = []
  onTestFinished(async () => {
    await Promise.all(members.map((member) => member.close()))
    await proxy.close()
    await database.close()
  })
  const join = (connection: TestDatabase['connection'] = database.connection): Process => {
    const log: string[] = []
    const heard: Message[] = []
    const changes = new Changes({
      id: randomUUID(),
      db: database.pool,
      connection,
      log: {
        info: (...line: unknown[]) => void log.push(`info ${String(line.at(-1))}`),
        warn: (...line: unknown[]) => void log.push(`warn ${String(line.at(-1))}`),
      },
    })
    changes.on('revoked', (message) => void heard.push(message))
    changes.on('upload wanted', (message) => void heard.push(message))
    changes.start()
    members.push(changes)
    return { changes, heard, log }
  }
  return {
    pool: database.pool,
    connection: database.connection,
    proxy,
    join,
    joinThroughProxy: () => join(proxied),
    /** @returns how many ms the others took */
    settle: async ({ changes }: Process, id = 'some'): Promise<number> => {
      let committedAtMs = Number.NaN
      await changes.settling(async (announce) => {
        await transaction(database.pool, (tx) => announce(tx, wanted(id)))
        committedAtMs = performance.now()
      })
      return performance.now() - committedAtMs
    },
    /** Pids of the server's ends of listening connections, the latest first. */
    listeners: async (): Promise<number[]> => {
      const { rows } = await database.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity
         where datname = current_database()
           and starts_with(application_name, 'slipway_listener_')
         order by backend_start desc`,
      )
      return rows.map((row) => row.pid)
    },
    terminate: (pid: number | undefined) =>
      database.pool.query('select pg_terminate_backend($1)', [pid]),
  }
}

type Stage = Awaited<ReturnType<typeof openStage>>

function wanted(id: string): Message {
  return { kind: 'upload wanted', id }
}

async function untilHeard(...processes: Process[]): Promise<void> {
  await until('leases', () => processes.every(({ changes }) => changes.areHeard()))
}

/** Once it has looked around for long enough to know who the others are. */
async function untilQuick({ settle }: Stage, process: Process): Promise<void> {
  await until('a quick round', async () => (await settle(process)) < 1000, 40_000)
}

describe.concurrent('a message', () => {
  it('reaches every other process, and not its sender', async ({ expect, onTestFinished }) => {
    const { join } = await openStage(onTestFinished)
    const [sender, other, third] = [join(), join(), join()]
    await untilHeard(sender, other, third)
    await sender.changes.publish(wanted('first'))
    await other.changes.publish(wanted('second'))

    const heard = () => [sender, other, third].map((process) => process.heard.length)
    await until('all', () => heard().join() === '1,1,2')
    expect(third.heard).toEqual([wanted('first'), wanted('second')])
    expect(other.heard).toEqual([wanted('first')])
    expect(sender.heard).toEqual([wanted('second')])
  })

  it('goes with its transaction', async ({ expect, onTestFinished }) => {
    const { pool, join } = await openStage(onTestFinished)
    const [sender, other] = [join(), join()]
    await untilHeard(sender, other)
    const failing = sender.changes.settling((announce) =>
      transaction(pool, async (tx) => {
        await announce(tx, wanted('never'))
        throw new Error('rolled back')
      }),
    )
    await expect(failing).rejects.toThrow('rolled back')
    await sender.changes.publish(wanted('after'))

    await until('the next one', () => other.heard.length > 0)
    expect(other.heard).toEqual([wanted('after')])
  })

  it('that makes no sense revokes everything', async ({ expect, onTestFinished }) => {
    const { pool, join } = await openStage(onTestFinished)
    const { changes, heard, log } = join()
    await until('a lease', () => changes.areHeard())
    for (const payload of ['', '7', '{"from":"a stranger"}']) {
      await pool.query(`select pg_notify('slipway_changed', '${payload}')`)
    }
    await until('all of them', () => heard.length === 3)
    expect(heard).toEqual(heard.map(() => ({ kind: 'revoked' })))
    expect(log.at(-1)).toBe('warn message of another process not understood')
    expect(changes.areHeard()).toBe(true)
  })
})

describe.concurrent('who settles a change', () => {
  it('waits until the others have heard of it', async ({ expect, onTestFinished }) => {
    const stage = await openStage(onTestFinished)
    const [sender, other] = [stage.join(), stage.join()]
    await untilHeard(sender, other)
    await untilQuick(stage, sender)
    for (let round = 0; round < 100; round++) {
      await stage.settle(sender, `round ${round}`)
      expect(other.heard.at(-1)).toEqual(wanted(`round ${round}`))
    }
  })

  it('alone, waits for nobody', async ({ expect, onTestFinished }) => {
    const stage = await openStage(onTestFinished)
    const sender = stage.join()
    await untilQuick(stage, sender)
    expect(await stage.settle(sender)).toBeLessThan(1000)
  })

  it('waits as long as it cannot know who the others are', async ({ expect, onTestFinished }) => {
    const { join, settle } = await openStage(onTestFinished)
    const ms = await settle(join())
    expect(ms).toBeGreaterThan(4900)
    expect(ms).toBeLessThan(7000)
  })

  it('waits for one that hangs until its lease is over, and no longer', async ({
    expect,
    onTestFinished,
  }) => {
    const stage = await openStage(onTestFinished)
    const [sender, hanging] = [stage.join(), stage.joinThroughProxy()]
    await untilHeard(sender, hanging)
    await untilQuick(stage, sender)
    stage.proxy.hang()

    const ms = await stage.settle(sender, 'unheard')

    expect(hanging.heard).not.toContainEqual(wanted('unheard'))
    expect(hanging.changes.areHeard()).toBe(false)
    expect(ms).toBeGreaterThan(3000)
    expect(ms).toBeLessThan(7000)
  })

  it('waits for one that has come just now and hangs already', async ({
    expect,
    onTestFinished,
  }) => {
    const stage = await openStage(onTestFinished)
    const sender = stage.join()
    await untilQuick(stage, sender)
    const hanging = stage.joinThroughProxy()
    await untilHeard(hanging)
    stage.proxy.hang()

    await stage.settle(sender, 'unheard')

    expect(hanging.heard).not.toContainEqual(wanted('unheard'))
    expect(hanging.changes.areHeard()).toBe(false)
  })

  it('waits for one that the server has lost and that does not know it', async ({
    expect,
    onTestFinished,
  }) => {
    const stage = await openStage(onTestFinished)
    const sender = stage.join()
    await untilHeard(sender)
    const lost = stage.joinThroughProxy()
    await untilHeard(lost)
    await untilQuick(stage, sender)
    stage.proxy.hang()
    const [latest] = await stage.listeners()
    await stage.terminate(latest)
    await until('its end', async () => (await stage.listeners()).length === 1)
    await sleep(1500) // the sender has looked meanwhile, and it was not there
    expect(lost.changes.areHeard()).toBe(true)

    await stage.settle(sender)

    expect(lost.changes.areHeard()).toBe(false)
  })

  it('waits while it cannot look who the others are, and for a while after', async ({
    expect,
    onTestFinished,
  }) => {
    const stage = await openStage(onTestFinished)
    const sender = stage.joinThroughProxy()
    await untilQuick(stage, sender)
    stage.proxy.hang()
    await sleep(2500)
    const meanwhile = stage.settle(sender)
    await sleep(500)
    await stage.proxy.restore()
    await sleep(1700) // it has looked once more
    const after = stage.settle(sender)
    expect(await meanwhile).toBeGreaterThan(4900)
    expect(await after).toBeGreaterThan(4900)
  })

  it('waits when it cannot hear the answers', async ({ expect, onTestFinished }) => {
    const stage = await openStage(onTestFinished)
    const [sender, other] = [stage.joinThroughProxy(), stage.join()]
    await untilHeard(sender, other)
    await untilQuick(stage, sender)
    stage.proxy.hang()
    expect(await stage.settle(sender, 'heard')).toBeGreaterThan(4900)
    expect(other.heard).toContainEqual(wanted('heard'))
  })
})

describe.concurrent('a listening connection', () => {
  it('that is ended takes the lease with it, revokes everything, and comes back', async ({
    expect,
    onTestFinished,
  }) => {
    const { join, listeners, terminate } = await openStage(onTestFinished)
    const { changes, heard, log } = join()
    await until('a lease', () => changes.areHeard())
    await terminate((await listeners())[0])
    await until('the loss', () => !changes.areHeard(), 1000)
    expect(heard).toEqual([{ kind: 'revoked' }])

    await until('another lease', () => changes.areHeard())
    expect(log).toEqual([HEARD, UNHEARD, HEARD])
  })

  it('on which nothing arrives any more is given up, and comes back', async ({
    expect,
    onTestFinished,
  }) => {
    const { joinThroughProxy, proxy } = await openStage(onTestFinished)
    const { changes, heard } = joinThroughProxy()
    await until('a lease', () => changes.areHeard())
    proxy.hang()
    await until('the loss', () => heard.length > 0)
    expect(changes.areHeard()).toBe(false)
    await proxy.restore()
    await until('another lease', () => changes.areHeard())
  })

  it('that does not get what the pool sends is never relied on, nor waited for', async ({
    expect,
    onTestFinished,
  }) => {
    const other = await openStage(onTestFinished)
    const { join } = await openStage(onTestFinished)
    // What a pooler in transaction mode does: statements work, notifications do not come.
    const { changes, log } = join(other.connection)
    for (const endMs = performance.now() + 8000; performance.now() < endMs; await sleep(50)) {
      expect(changes.areHeard()).toBe(false)
    }
    expect(log).toEqual([UNHEARD])
    expect(await other.listeners()).toEqual([])
  })

  it.for([0, 100, 1000, 4500])(
    'is closed %i ms after it began',
    async (ms, { expect, onTestFinished }) => {
      const { join, listeners } = await openStage(onTestFinished)
      const { changes } = join()
      await sleep(ms)
      const beganAtMs = performance.now()
      await changes.close()
      expect(performance.now() - beganAtMs).toBeLessThan(400)
      await until('no connection', async () => (await listeners()).length === 0)
    },
  )
})

describe('a lease', () => {
  it('is over in time in a process that stood still', async ({ expect, onTestFinished }) => {
    const { join } = await openStage(onTestFinished)
    const { changes } = join()
    await until('a lease', () => changes.areHeard())
    const still = new Int32Array(new SharedArrayBuffer(4))
    Atomics.wait(still, 0, 0, 4000)
    expect(changes.areHeard()).toBe(false)
    await until('another lease', () => changes.areHeard())
  })
})
