import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DataDirectoryInUse, lockDirectory } from '../../postgres/directory-lock.ts'
import { recordLog, startCompanion, temporaryFolder } from './fixtures.ts'

describe('the lock of a directory', () => {
  it('refuses a second holder, naming the folder and the first', async () => {
    const directory = await temporaryFolder()
    const lock = await lockDirectory(directory)
    onTestFinished(() => lock.release())

    const second = lockDirectory(directory)

    await expect(second).rejects.toThrow(DataDirectoryInUse)
    await expect(second).rejects.toThrow(
      `${directory} is in use by process ${process.pid} on host ${hostname()}`,
    )
  })

  it('is free after its release', async () => {
    const directory = await temporaryFolder()
    for (let round = 0; round < 3; round++) {
      const lock = await lockDirectory(directory)
      await lock.release()
      await lock.release()
    }
    expect(await readdir(path.join(directory, 'lock'))).toEqual(['3'])
  })

  it('is free at once when its holder was killed', async () => {
    const directory = await temporaryFolder()
    const holder = startCompanion('lock', directory)
    expect(await holder.line()).toBe('locked')
    await expect(lockDirectory(directory)).rejects.toThrow(`process ${holder.pid} on host`)
    await holder.kill('SIGKILL')

    const before = performance.now()
    const lock = await lockDirectory(directory)
    onTestFinished(() => lock.release())
    expect(performance.now() - before).toBeLessThan(1_000)
  })

  it('is not held by a process that has merely got the pid of the holder', async () => {
    const directory = await temporaryFolder()
    await forge(directory, { startTime: '1' }, 0)
    const lock = await lockDirectory(directory)
    await lock.release()
    expect(await readdir(path.join(directory, 'lock'))).toEqual(['2'])
  })

  it('goes to exactly one of many that find it stale', async () => {
    const directory = await temporaryFolder()
    await forge(directory, { startTime: '1' }, 0)

    const tries = await Promise.allSettled(
      Array.from({ length: 40 }, () => lockDirectory(directory)),
    )

    const won = tries.filter((result) => result.status === 'fulfilled')
    for (const result of won) await result.value.release()
    expect(won).toHaveLength(1)
    const reasons = tries.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(reasons.filter((reason) => !(reason instanceof DataDirectoryInUse))).toEqual([])
  })
})

describe('a lock from elsewhere', () => {
  it.each([{ bootId: 'another' }, { pidNamespace: 'pid:[1]' }])(
    'is dead when it was not touched for 15 s (%o)',
    async (elsewhere) => {
      const directory = await temporaryFolder()
      await forge(directory, elsewhere, 16_000)
      const before = performance.now()
      const lock = await lockDirectory(directory)
      await lock.release()
      expect(performance.now() - before).toBeLessThan(1_000)
    },
  )

  it('is waited for until it counts as dead', async () => {
    const directory = await temporaryFolder()
    await forge(directory, { bootId: 'another' }, 14_000)
    const log = recordLog()
    const lock = await lockDirectory(directory, { log })
    await lock.release()
    expect(log.at('info')).toEqual(['waiting to see whether the data directory is in use'])
  })

  it('is respected as soon as it beats', async () => {
    const directory = await temporaryFolder()
    const file = await forge(directory, { bootId: 'another', pid: 4711, hostname: 'ship' }, 2_000)
    const timer = setTimeout(() => void utimes(file, new Date(), new Date()), 600)
    onTestFinished(() => clearTimeout(timer))
    await expect(lockDirectory(directory)).rejects.toThrow('process 4711 on host ship')
  })

  it('that takes over tells the one that had it', async () => {
    const directory = await temporaryFolder()
    const log = recordLog()
    let told = false
    const lock = await lockDirectory(directory, { log, onLost: () => (told = true) })
    onTestFinished(() => lock.release())
    await writeFile(path.join(directory, 'lock/2'), '{}')
    await expect.poll(() => told, { timeout: 7_000 }).toBe(true)
    expect(log.at('error')).toEqual(['the data directory was taken by another'])
  })
})

/** A lock as another process would have left it: ours, with some of its marks changed. */
async function forge(directory: string, marks: object, ageMs: number): Promise<string> {
  const own = await lockDirectory(directory)
  const file = path.join(directory, 'lock/1')
  const content = JSON.parse(await readFile(file, 'utf8')) as object
  await own.release()
  await mkdir(path.dirname(file), { recursive: true })
  await writeFile(file, JSON.stringify({ ...content, ...marks }))
  const touched = new Date(Date.now() - ageMs)
  await utimes(file, touched, touched)
  return file
}
