import { mkdir, readdir, readFile, readlink, stat } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  isAlive,
  postmasterPid,
  recordLog,
  shareCluster,
  start,
  startCompanion,
  temporaryFolder,
  until,
} from './fixtures.ts'
import { query } from './query.ts'

const shared = shareCluster()

describe('an embedded server', () => {
  it('starts in an empty folder, durable and closed to others', async () => {
    const directory = path.join(await temporaryFolder(), 'postgres')
    const log = recordLog()
    const server = await start(directory, log)

    const [shown] = await query<Record<string, string>>(
      server,
      `select current_setting('fsync') fsync, current_setting('full_page_writes') pages,
         current_setting('synchronous_commit') sync, current_setting('data_checksums') checksums,
         current_setting('listen_addresses') addresses, current_setting('jit') jit,
         current_setting('server_encoding') encoding, current_setting('lc_messages') messages,
         (select datcollate from pg_database where datname = 'slipway') as collation`,
    )
    expect(shown).toEqual({
      fsync: 'on',
      pages: 'on',
      sync: 'on',
      checksums: 'on',
      addresses: '',
      jit: 'off',
      encoding: 'UTF8',
      messages: 'C',
      collation: 'C',
    })
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700)
    expect((await stat(path.join(directory, 'cluster'))).mode & 0o777).toBe(0o700)
    expect(log.records.filter(({ level }) => level !== 'debug')).toEqual([])
  })

  it.skipIf(process.platform !== 'linux')('listens on no TCP port', async () => {
    const { directory } = shared
    await start(directory)

    const sockets = await socketsOf(await postmasterPid(directory))
    const listening = await Promise.all(
      ['tcp', 'tcp6', 'udp', 'udp6', 'unix'].map((kind) => inodesIn(`/proc/net/${kind}`)),
    )
    const owned = listening.map((inodes) => inodes.filter((inode) => sockets.includes(inode)))
    expect(owned.slice(0, 4)).toEqual([[], [], [], []])
    expect(owned[4]).not.toEqual([])
  })

  it('keeps its data over a stop and a start, and can be stopped twice', async () => {
    const { directory } = shared
    const first = await start(directory)
    await query(first, 'create table kept3 as select 7 as n')
    const pid = await postmasterPid(directory)
    await Promise.all([first.stop(), first.stop()])
    await first.stop()
    expect(isAlive(pid)).toBe(false)
    expect(await readdir(first.connection.host)).toEqual([])

    const second = await start(directory)
    expect(await query(second, 'select n from kept3')).toEqual([{ n: 7 }])
  })

  it('is back within seconds when it is killed, with what was committed', async () => {
    const { directory } = shared
    const log = recordLog()
    const server = await start(directory, log)
    await query(server, 'create table kept4 (n int)')
    for (const round of [1, 2, 3]) {
      await query(server, `insert into kept4 values (${round})`)
      process.kill(await postmasterPid(directory), 'SIGKILL')
      await until(() => log.at('info').filter((m) => m === 'the database is back').length === round)
    }

    expect(await query(server, 'select n from kept4 order by n')).toEqual([
      { n: 1 },
      { n: 2 },
      { n: 3 },
    ])
    expect(log.at('error').filter((m) => m.startsWith('the database died'))).toHaveLength(3)
  })

  it('can be stopped while it is being restarted', async () => {
    const { directory } = shared
    const log = recordLog()
    const server = await start(directory, log)
    const pid = await postmasterPid(directory)

    process.kill(pid, 'SIGKILL')
    await until(() => log.at('error').length > 0)
    await server.stop()

    expect(log.at('info')).not.toContain('the database is back')
    const left = await postmasterPid(directory).catch(() => pid)
    expect(isAlive(left)).toBe(false)
  })

  it('does not stop on the Ctrl-C that its parent gets', async () => {
    const { directory } = shared
    const parent = startCompanion('server', directory)
    expect(await parent.line()).toBe('starting')
    expect(await parent.line()).toBe('started')
    const pid = await postmasterPid(directory)

    process.kill(-parent.pid, 'SIGINT')

    expect(await parent.line()).toBe('answer 42')
    await until(() => !isAlive(pid))
  })

  it('has its socket elsewhere when the path would be too long', async () => {
    const directory = path.join(await temporaryFolder(), 'deep'.repeat(12), 'down'.repeat(12))
    await mkdir(directory, { recursive: true })
    const server = await start(directory)

    expect(server.connection.host.startsWith(directory)).toBe(false)
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700)
    expect(await query(server, 'select 1 as n')).toEqual([{ n: 1 }])

    await server.stop()
    await expect(stat(server.connection.host)).rejects.toThrow('ENOENT')
  })
})

async function socketsOf(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`)
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`)))
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}

/** Every number of the table: an inode is among them wherever its column is. */
async function inodesIn(table: string): Promise<string[]> {
  return (await readFile(table, 'utf8')).split(/\s+/).filter((word) => /^\d+$/.test(word))
}
