import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isPostmasterOf } from '../../postgres/orphan.ts'
import {
  isAlive,
  postmasterPid,
  recordLog,
  shareCluster,
  start,
  startCompanion,
  until,
} from './fixtures.ts'
import { query } from './query.ts'

const shared = shareCluster()

describe('a start after a crash', () => {
  it('stops the server of a parent that was killed, and keeps its rows', async () => {
    const { directory } = shared
    const parent = startCompanion('server', directory)
    await parent.line()
    await parent.line()
    const orphan = await postmasterPid(directory)
    const connection = {
      host: path.join(directory, 'run'),
      port: 5432,
      user: 'slipway',
      database: 'slipway',
    }
    await query({ connection }, 'create table kept1 as select 7 as n')
    await parent.kill('SIGKILL')
    expect(await isPostmasterOf(orphan, path.join(directory, 'cluster'))).toBe(true)

    const log = recordLog()
    const server = await start(directory, log)

    await until(() => !isAlive(orphan))
    expect(await postmasterPid(directory)).not.toBe(orphan)
    expect(await query(server, 'select n from kept1')).toEqual([{ n: 7 }])
    expect(log.at('warn')).toEqual(['stopping the database of a process that was killed'])
  })

  it('never signals a process that has merely got the pid of a dead server', async () => {
    const { directory } = shared
    const server = await start(directory)
    const cluster = path.join(directory, 'cluster')
    const { uid, pid: ownPid, file } = await pidFile(directory)
    await server.stop()
    const stranger = spawn('sleep', ['60'], { uid, stdio: 'ignore' })
    onTestFinished(() => {
      stranger.kill('SIGKILL')
    })
    const exited = once(stranger, 'exit')
    await writeFile(path.join(cluster, 'postmaster.pid'), file.replace(ownPid, `${stranger.pid}`))
    const lock = path.join(server.connection.host, '.s.PGSQL.5432.lock')
    await writeFile(lock, file.replace(ownPid, `${stranger.pid}`))

    const again = await start(directory)

    expect(await query(again, 'select 1 as n')).toEqual([{ n: 1 }])
    expect(stranger.exitCode).toBeNull()
    expect(stranger.signalCode).toBeNull()
    stranger.kill('SIGKILL')
    await exited
  })

  it.each(['', 'garbage\n'])('starts over a pid file that reads %j', async (content) => {
    const { directory } = shared
    await writeFile(path.join(directory, 'cluster/postmaster.pid'), content)

    const again = await start(directory)

    expect(await query(again, 'select 1 as n')).toEqual([{ n: 1 }])
  })
})

async function pidFile(directory: string) {
  const file = await readFile(path.join(directory, 'cluster/postmaster.pid'), 'utf8')
  const pid = String(Number.parseInt(file, 10))
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  // Where there is no /proc, the server runs as we do.
  return { file, pid, uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? process.geteuid?.()) }
}
