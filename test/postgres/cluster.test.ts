import { chmod, chown, mkdir, readdir, rmdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { EmbeddedPostgresUnavailable } from '../../postgres/unavailable.ts'
import { shareCluster, start, startCompanion, temporaryFolder, until } from './fixtures.ts'
import { query } from './query.ts'

const shared = shareCluster()

describe('the first start', () => {
  it('can be killed half way and begun again', async () => {
    const directory = await temporaryFolder()
    const parent = startCompanion('server', directory)
    await until(async () => (await unfinished(directory)).some((names) => names.length > 15))
    await parent.kill('SIGKILL')
    await expect(stat(path.join(directory, 'cluster'))).rejects.toThrow('ENOENT')

    const server = await start(directory)

    expect(await query(server, 'select 1 as n')).toEqual([{ n: 1 }])
    expect((await readdir(directory)).filter((name) => name.includes('.new-'))).toEqual([])
  })

  it('leaves alone what is in its place and is no cluster', async () => {
    const directory = await temporaryFolder()
    await mkdir(path.join(directory, 'cluster'))
    await writeFile(path.join(directory, 'cluster/photo.jpg'), 'dear')

    await expect(start(directory)).rejects.toThrow(EmbeddedPostgresUnavailable)
    expect(await readdir(path.join(directory, 'cluster'))).toEqual(['photo.jpg'])
  })
})

describe('a later start', () => {
  it('closes a cluster that was opened to a group, as Kubernetes does', async () => {
    const { directory } = shared
    await (await start(directory)).stop()
    await chmod(path.join(directory, 'cluster'), 0o2770)

    const server = await start(directory)

    expect(await query(server, 'select 1 as n')).toEqual([{ n: 1 }])
  })

  it('names the way out when no PostgreSQL of the right version is there', async () => {
    const directory = await temporaryFolder()
    await mkdir(path.join(directory, 'cluster'))
    await writeFile(path.join(directory, 'cluster/PG_VERSION'), '9\n')

    await expect(start(directory)).rejects.toThrow(/made by PostgreSQL 9;.*database\.url/)
  })
})

describe.skipIf(process.geteuid?.() !== 0)('as root', () => {
  it('runs the server as another user', async () => {
    const { directory } = shared
    await start(directory)
    expect((await stat(path.join(directory, 'cluster/postmaster.pid'))).uid).not.toBe(0)
  })

  it('gives a cluster of root to that user', async () => {
    const { directory } = shared
    const first = await start(directory)
    await query(first, 'create table kept6 as select 7 as n')
    await first.stop()
    await ownAll(path.join(directory, 'cluster'))

    const second = await start(directory)

    expect(await query(second, 'select n from kept6')).toEqual([{ n: 7 }])
  })

  it('uses no folder for its socket that another user has made', async () => {
    const directory = path.join(await temporaryFolder(), 'long'.repeat(24))
    const first = await start(directory)
    const folder = first.connection.host
    await first.stop()
    await mkdir(folder)
    onTestFinished(() => rmdir(folder))
    await chown(folder, 12345, 12345)

    await expect(start(directory)).rejects.toThrow(/belongs to another user \(uid 12345\)/)
  })

  it('reaches data below a folder that is closed to that user', async () => {
    const closed = path.join(await temporaryFolder(), 'closed')
    await mkdir(closed, { mode: 0o700 })
    const server = await start(path.join(closed, 'postgres'))
    expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('says which folder is closed, and what to do, where it cannot be passed', async () => {
    const closed = path.join(await temporaryFolder(), 'closed')
    await mkdir(closed, { mode: 0o700 })
    vi.stubEnv('PATH', '/nonexistent') // setpriv is not to be found
    onTestFinished(() => void vi.unstubAllEnvs())
    await expect(start(path.join(closed, 'postgres'))).rejects.toThrow(
      new RegExp(`cannot enter ${closed} \\(mode 700\\).*--data.*chmod o\\+x.*database\\.url`),
    )
  })
})

async function unfinished(directory: string): Promise<string[][]> {
  const names = await readdir(directory)
  const folders = names.filter((name) => name.startsWith('cluster.new-'))
  return Promise.all(folders.map((name) => readdir(path.join(directory, name)).catch(() => [])))
}

async function ownAll(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    await chown(path.join(folder, name), 0, 0)
  }
  await chown(folder, 0, 0)
}
