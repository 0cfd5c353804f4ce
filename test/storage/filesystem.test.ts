import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import { digestOf, splitDigest } from '../../oci/digest.ts'
import {
  StorageFull,
  type StoredItem,
  type Upload,
  UploadLost,
  type UploadState,
} from '../../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../../storage/blob/filesystem.ts'
import { describeBlobStore } from '../contract/blob-store.ts'

describeBlobStore('filesystem', async () => {
  const { root, store } = await openStore()
  const fileOf = (state: UploadState) => path.join(root, 'uploads', String(state['file']))
  return {
    store,
    reopen: async () => new FilesystemBlobStore(root),
    loseUpload: (state) => unlink(fileOf(state)),
    keptBytes: 100,
    openHandles: () => countHandlesBelow(root),
    close: async () => {
      const left = await filesBelow(root)
      const handles = await countHandlesBelow(root)
      await rm(root, { recursive: true })
      assert.deepEqual(left, [], 'files left behind')
      assert.equal(handles, 0, 'files left open')
    },
  }
})

describe('the folders of a filesystem store', () => {
  it.each(['sha256', 'sha512'] as const)('are those of registry:2 for %s', async (algorithm) => {
    const { root, store } = await openOwnStore()
    const content = Buffer.from('layer')
    const digest = digestOf(content, algorithm)
    const { hex } = splitDigest(digest)

    const location = await store.commitUpload(await append(store, 'one', content), digest)

    const file = `docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`
    expect(location).toBe(file)
    expect(await readFile(path.join(root, file), 'utf8')).toBe('layer')
    expect(await filesBelow(root)).toEqual([file])
  })

  it('keep uploads under their session ids', async () => {
    const { root, store } = await openOwnStore()
    await append(store, 'session', Buffer.from('half'))
    expect(await readFile(path.join(root, 'uploads', 'session'), 'utf8')).toBe('half')
  })

  it('of a deleted blob are removed with it', async () => {
    const { root, store } = await openOwnStore()
    const content = Buffer.from('layer')
    const upload = await append(store, 'one', content)
    const location = await store.commitUpload(upload, digestOf(content))
    await store.delete(location)
    await expect(stat(path.dirname(path.join(root, location)))).rejects.toThrow('ENOENT')
  })

  it('read a blob that registry:2 wrote', async () => {
    const { root, store } = await openOwnStore()
    const location = 'docker/registry/v2/blobs/sha256/ab/abcd/data'
    await mkdir(path.dirname(path.join(root, location)), { recursive: true })
    await writeFile(path.join(root, location), 'adopted')
    expect(await store.size(location)).toBe(7)
  })

  it('are missed by a probe when they are gone', async () => {
    const { root, store } = await openOwnStore()
    await rm(root, { recursive: true })
    await expect(store.probe()).rejects.toThrow('ENOENT')
  })
})

describe('a list of a filesystem', () => {
  const blob = `docker/registry/v2/blobs/sha256/ab/${'ab'.repeat(32)}/data`

  it('leaves out what no store writes', async () => {
    const { root, store } = await openOwnStore()
    await put(root, blob)
    await put(root, 'docker/registry/v2/blobs/sha256/ab/abcd/data')
    await put(root, 'docker/registry/v2/blobs/md5/ab/abcd/data')
    await put(root, 'docker/registry/v2/blobs/sha256/README')
    await put(root, `docker/registry/v2/blobs/sha256/ab/${'cd'.repeat(32)}/other`)
    expect(await listed(store)).toMatchObject([
      { location: blob, digest: `sha256:${'ab'.repeat(32)}` },
    ])
  })

  it('says that blobs may be those of registry:2 where it left its folder', async () => {
    const { root, store } = await openOwnStore()
    await put(root, blob)
    await mkdir(path.join(root, 'docker/registry/v2/repositories'))
    expect(await listed(store)).toMatchObject([{ location: blob, isForeign: true }])
  })

  it('fails where there is no store, rather than finding nothing', async () => {
    const { root, store } = await openOwnStore()
    await rm(path.join(root, 'docker'), { recursive: true })
    await expect(listed(store)).rejects.toThrow('ENOENT')
    await rm(root, { recursive: true })
    await expect(listed(store)).rejects.toThrow('ENOENT')
  })
})

describe('an upload to a filesystem', () => {
  it('is lost when some of its bytes are gone', async () => {
    const { root, store } = await openOwnStore()
    const content = randomBytes(100)
    const upload = await append(store, 'one', content)
    await truncate(path.join(root, 'uploads', 'one'), 99)
    await expect(append(store, 'one', content, upload)).rejects.toThrow(UploadLost)
    await expect(store.commitUpload(upload, digestOf(content))).rejects.toThrow(UploadLost)
  })
})

describe('a disk that is nearly full', () => {
  it('refuses an append, and takes the same bytes once there is room', async (test) => {
    const { root, store } = await openOnSmallDisk(test)
    const filler = path.join(root, 'filler')
    await writeFile(filler, Buffer.alloc(2560 * 1024))
    const before = randomBytes(256 * 1024)
    const upload = await append(store, 'one', before)
    const rest = randomBytes(2 * 1024 * 1024)

    await expect(append(store, 'one', rest, upload)).rejects.toThrow(StorageFull)
    expect((await stat(path.join(root, 'uploads', 'one'))).size).toBe(before.length)
    await expect(append(store, 'one', rest, upload)).rejects.toThrow(StorageFull)

    await unlink(filler)
    const content = Buffer.concat([before, rest])
    const whole = await append(store, 'one', rest, upload)
    const location = await store.commitUpload(whole, digestOf(content))
    expect((await readFile(path.join(root, location))).equals(content)).toBe(true)
  })

  it('says so by a probe', async (test) => {
    const { root, store } = await openOnSmallDisk(test)
    await writeFile(path.join(root, 'filler'), Buffer.alloc(8 * 1024 * 1024)).catch(() => {})
    await expect(store.probe()).rejects.toThrow(StorageFull)
    expect(await readdir(path.join(root, 'uploads'))).toEqual([])
    expect(await countHandlesBelow(root), 'a probe that failed left its file open').toBe(0)
  })
})

async function put(root: string, file: string): Promise<void> {
  await mkdir(path.dirname(path.join(root, file)), { recursive: true })
  await writeFile(path.join(root, file), 'bytes')
}

async function listed(store: FilesystemBlobStore): Promise<StoredItem[]> {
  const items: StoredItem[] = []
  for await (const item of store.list()) items.push(item)
  return items
}

async function openOnSmallDisk(test: TestContext) {
  const root = await mkdtemp(path.join(tmpdir(), 'slipway-full-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  const reason = mountSmallDisk(root)
  if (reason !== undefined) {
    if (process.env['CI']) throw new Error(reason)
    test.skip(reason)
  }
  onTestFinished(() => void execFileSync('umount', ['--lazy', root]))
  const store = new FilesystemBlobStore(root)
  await store.open()
  return { root, store }
}

/** Four MiB. @returns why it cannot be had here */
function mountSmallDisk(folder: string): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to mount a small disk'
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'slipway-test', folder], {
      stdio: 'pipe',
    })
    return undefined
  } catch (error) {
    return `no disk can be mounted here: ${String(error)}`
  }
}

async function openStore() {
  const root = await mkdtemp(path.join(tmpdir(), 'slipway-blobs-'))
  const store = new FilesystemBlobStore(root)
  await store.open()
  return { root, store }
}

async function openOwnStore() {
  const opened = await openStore()
  onTestFinished(() => rm(opened.root, { recursive: true, force: true }))
  return opened
}

async function append(
  store: FilesystemBlobStore,
  id: string,
  content: Buffer,
  upload: Upload = { offset: 0, state: store.startUpload(id) },
): Promise<Upload> {
  const writer = await store.appendUpload(upload)
  try {
    for (let at = 0; at < content.length; at += 65_536) {
      await writer.write(content.subarray(at, at + 65_536))
    }
    return await writer.finish()
  } catch (error) {
    await writer.discard()
    throw error
  }
}

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
}

/** Only those of one store: the other tests of this process open files, too. */
async function countHandlesBelow(root: string): Promise<number> {
  const handles = await readdir('/proc/self/fd')
  const files = await Promise.all(
    handles.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return files.filter((file) => file.startsWith(root)).length
}
