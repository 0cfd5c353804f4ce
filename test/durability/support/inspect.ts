import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'vitest'
import { exchange } from './exchange.ts'
import { digestOf, expectStatus, type Image } from './pushes.ts'

interface Descriptor {
  readonly digest: string
}

/** What clients were told is stored: all of it must be there after whatever happens. */
export class Ledger {
  readonly #blobs = new Set<string>()
  readonly #tags = new Map<string, string>()

  blobPushed(repository: string, digest: string): void {
    this.#blobs.add(`${repository}@${digest}`)
  }

  imagePushed(repository: string, tag: string, { manifest }: Image): void {
    this.#tags.set(`${repository}:${tag}`, manifest.digest)
  }

  get size(): number {
    return this.#blobs.size + this.#tags.size
  }

  async expectWhole(host: string): Promise<void> {
    for (const entry of this.#blobs) {
      const [repository = '', digest = ''] = entry.split('@')
      await expectBlob(host, repository, digest)
    }
    for (const [entry, digest] of this.#tags) {
      const [repository = '', tag = ''] = entry.split(':')
      const found = await expectTagWhole(host, repository, tag)
      if (found !== digest) throw new Error(`${entry} is ${found}, not ${digest} as pushed`)
    }
  }
}

/** It is there, and its bytes are its own. */
export async function expectBlob(host: string, repository: string, digest: string): Promise<void> {
  const target = `/v2/${repository}/blobs/${digest}`
  const answer = expectStatus(target, await exchange(host, { method: 'GET', path: target }), 200)
  expect(digestOf(answer.body), 'the digest of the bytes').toBe(digest)
}

/** Either there is no such blob, or it is whole. @returns whether there is one */
export async function expectNothingOrWhole(
  host: string,
  repository: string,
  digest: string,
): Promise<boolean> {
  const target = `/v2/${repository}/blobs/${digest}`
  const head = await exchange(host, { method: 'HEAD', path: target })
  expectStatus(`HEAD ${target}`, head, 200, 404)
  if (head.status === 404) return false
  await expectBlob(host, repository, digest)
  return true
}

/** The tag can be pulled with all it names. @returns the digest of its manifest */
export async function expectTagWhole(
  host: string,
  repository: string,
  tag: string,
): Promise<string> {
  const target = `/v2/${repository}/manifests/${tag}`
  const answer = expectStatus(target, await exchange(host, { method: 'GET', path: target }), 200)
  const digest = digestOf(answer.body)
  expect(answer.headers['docker-content-digest']).toBe(digest)
  const manifest = JSON.parse(answer.body.toString()) as {
    config: Descriptor
    layers: Descriptor[]
  }
  for (const blob of [manifest.config, ...manifest.layers]) {
    await expectBlob(host, repository, blob.digest)
  }
  return digest
}

/** Every tag that is listed can be pulled, whole. @returns how many there are */
export async function expectEveryTagWhole(host: string): Promise<number> {
  const { repositories } = (await read(host, '/v2/_catalog?n=1000')) as { repositories: string[] }
  let count = 0
  for (const repository of repositories) {
    const { tags } = (await read(host, `/v2/${repository}/tags/list`)) as { tags: string[] | null }
    for (const tag of tags ?? []) {
      await expectTagWhole(host, repository, tag)
      count++
    }
  }
  return count
}

async function read(host: string, target: string): Promise<unknown> {
  const answer = await exchange(host, { method: 'GET', path: target })
  return JSON.parse(expectStatus(target, answer, 200).body.toString())
}

/**
 * Every file that the store has under a digest has that digest: whatever became visible, even if
 * no row names it yet, is whole. @returns the digests
 */
export async function expectEveryFileWhole(storage: string): Promise<string[]> {
  const blobs = path.join(storage, 'docker/registry/v2/blobs/sha256')
  const digests: string[] = []
  for (const entry of await readdir(blobs, { recursive: true }).catch(() => [])) {
    const file = path.join(blobs, entry)
    if (path.basename(file) !== 'data' || !(await stat(file)).isFile()) continue
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
    const hex = path.basename(path.dirname(file))
    expect(hash.digest('hex'), 'the digest of a stored file').toBe(hex)
    digests.push(`sha256:${hex}`)
  }
  return digests
}

/** Bytes that uploads hold in the store, by session id. */
export async function uploadFiles(storage: string): Promise<Map<string, number>> {
  const folder = path.join(storage, 'uploads')
  const names = await readdir(folder)
  const sizes = await Promise.all(
    names.map(async (name) => (await stat(path.join(folder, name))).size),
  )
  return new Map(names.map((name, index) => [name, sizes[index] ?? 0]))
}
