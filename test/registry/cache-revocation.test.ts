import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../config/config.ts'
import type { Digest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import type { Registry } from '../../registry/registry.ts'
import { revoking } from '../../registry/revocation.ts'
import { compose } from '../../server/compose.ts'
import { listen } from '../../server/listen.ts'
import { Client, expectStatus, pushBlob, sha256, someBytes } from '../acceptance/client.ts'
import {
  artifact,
  DOCKER_MANIFEST,
  EMPTY,
  OCI_MANIFEST,
  pushEmpty,
  pushManifest,
} from '../acceptance/images.ts'
import { until } from '../durability/support/workspace.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

interface Replica {
  readonly client: Client
  readonly registry: Registry
  /** Statements sent by way of the pool so far. */
  readonly statements: () => number
  close(): Promise<void>
}

let database: TestDatabase
let root: string
let a: Replica
let b: Replica

/** A whole server that shares the database and the folder of blobs with others. */
async function openReplica(): Promise<Replica> {
  // Statements are counted: those of the collector would be among them.
  const quiet = { 'gc.intervalSeconds': '3600' }
  const flags = { data: root, listen: '127.0.0.1:0', 'limits.drainSeconds': '1', ...quiet }
  const config = loadConfig({ flags, environment: {} })
  const log = pino({ level: 'silent' })
  const { connection } = database
  const composition = await compose({ config, connection, ownsDatabase: false, log })
  const { registry } = composition
  let statements = 0
  const query = registry.db.query.bind(registry.db) as (...args: unknown[]) => unknown
  registry.db.query = ((...args: unknown[]) => {
    statements++
    return query(...args)
  }) as typeof registry.db.query
  const listening = await listen(composition.handle, config, log)
  const client = new Client(`127.0.0.1:${listening.port}`)
  return {
    client,
    registry,
    statements: () => statements,
    close: async () => {
      client.close()
      await listening.stop()
      await composition.close()
    },
  }
}

beforeAll(async () => {
  database = await openTestDatabase()
  root = await mkdtemp(path.join(tmpdir(), 'slipway-replicas-'))
  ;[a, b] = [await openReplica(), await openReplica()]
  await untilShared()
  await until('they know each other', async () => {
    const beganAtMs = performance.now()
    const nothing = revoking(a.registry, (_tx, revoke) => revoke({ digest: 'none' as Digest }))
    await nothing
    return performance.now() - beganAtMs < 1000
  })
})

afterAll(async () => {
  await Promise.all([a?.close(), b?.close()])
  await database?.close()
  await rm(root, { recursive: true, force: true })
})

async function untilShared(): Promise<void> {
  await until('leases', () => [a, b].every(({ registry }) => registry.changes?.areHeard() === true))
}

/** Asks until the answer comes from memory. */
async function warm({ client, statements }: Replica, target: string): Promise<void> {
  for (let asked = 0; asked < 3; asked++) {
    const before = statements()
    expectStatus(await client.get(target), 200)
    if (statements() === before) return
  }
  throw new Error(`${target} is not remembered`)
}

async function pushArtifact(repository: string): Promise<string> {
  const content = artifact()
  await pushManifest(a.client, repository, content.digest, content)
  return `/v2/${repository}/manifests/${content.digest}`
}

describe('what one replica deletes, another that remembers it serves no more:', () => {
  it('a manifest', async () => {
    await pushEmpty(a.client, 'revoked/manifest')
    for (let round = 0; round < 300; round++) {
      const [deleter, reader] = round % 2 === 0 ? [a, b] : [b, a]
      const target = await pushArtifact('revoked/manifest')
      await warm(reader, target)
      expectStatus(await deleter.client.delete(target), 202)
      expectStatus(await reader.client.get(target), 404)
    }
  })

  it('a manifest that is being read all the time', async () => {
    await pushEmpty(a.client, 'revoked/busy')
    for (let round = 0; round < 100; round++) {
      const target = await pushArtifact('revoked/busy')
      const state = { deleted: false }
      const readers = Array.from({ length: 4 }, async () => {
        while (!state.deleted) await b.client.get(target)
      })
      await warm(b, target)
      expectStatus(await a.client.delete(target), 202)
      const statuses = await Promise.all([1, 2, 3, 4].map(() => b.client.head(target)))
      state.deleted = true
      expect(statuses.map(({ status }) => status)).toEqual([404, 404, 404, 404])
      await Promise.all(readers)
    }
  })

  it('a blob', async () => {
    for (let round = 0; round < 100; round++) {
      const target = `/v2/revoked/blob/blobs/${await pushBlob(a.client, 'revoked/blob', someBytes())}`
      await warm(b, target)
      expectStatus(await a.client.delete(target), 202)
      expectStatus(await b.client.head(target), 404)
    }
  })

  it('a repository', async () => {
    for (let round = 0; round < 20; round++) {
      const blob = `/v2/revoked/all/blobs/${await pushEmpty(a.client, 'revoked/all')}`
      const manifest = await pushArtifact('revoked/all')
      await warm(b, blob)
      await warm(b, manifest)
      expectStatus(await a.client.delete('/api/v1/repositories/revoked/all'), 202)
      expectStatus(await b.client.get(manifest), 404)
      expectStatus(await b.client.get(blob), 404)
    }
  })

  it('a manifest that was deleted there already', async () => {
    await pushEmpty(a.client, 'revoked/again')
    const target = await pushArtifact('revoked/again')
    await warm(b, target)
    const deletes = [a, b, a, b].map(({ client }) => client.delete(target))
    const answers = await Promise.all(
      deletes.map(async (answer) => {
        const { status } = await answer
        return `${status}, then ${(await b.client.get(target)).status}`
      }),
    )
    const others = answers.filter((answer) => answer !== '202, then 404')
    expect(others).toEqual(['404, then 404', '404, then 404', '404, then 404'])
  })
})

describe('what one replica changes, another serves as it is now:', () => {
  it('a tag that moved', async () => {
    const repository = 'changed/tag'
    await pushEmpty(a.client, repository)
    for (let round = 0; round < 100; round++) {
      const content = artifact()
      await pushManifest(a.client, repository, 'latest', content)
      const { headers } = await b.client.get(`/v2/${repository}/manifests/latest`)
      expect(headers['docker-content-digest']).toBe(content.digest)
    }
  })

  it('a manifest that was deleted and pushed again', async () => {
    const repository = 'changed/again'
    await pushEmpty(a.client, repository)
    const content = artifact()
    const target = `/v2/${repository}/manifests/${content.digest}`
    for (let round = 0; round < 20; round++) {
      await pushManifest(a.client, repository, content.digest, content)
      expectStatus(await b.client.get(target), 200)
      expectStatus(await a.client.delete(target), 202)
      expectStatus(await b.client.get(target), 404)
    }
  })

  it('the media type of a manifest that does not state its own', async () => {
    const repository = 'changed/type'
    await pushEmpty(a.client, repository)
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: EMPTY, layers: [] }))
    const digest = sha256(bytes)
    for (const mediaType of [OCI_MANIFEST, DOCKER_MANIFEST, OCI_MANIFEST]) {
      await pushManifest(a.client, repository, digest, { mediaType, bytes, digest })
      for (let asked = 0; asked < 3; asked++) {
        const { headers } = await b.client.get(`/v2/${repository}/manifests/${digest}`)
        expect(headers['content-type']).toBe(mediaType)
      }
    }
  })

  it('where the bytes of a blob lie', async () => {
    const repository = parseRepositoryName('changed/location')
    const bytes = someBytes()
    const digest = await pushBlob(a.client, repository, bytes)
    const target = `/v2/${repository}/blobs/${digest}`
    await warm(b, target)
    const asked = b.statements()
    await revoking(a.registry, (_tx, revoke) => revoke({ digest: digest as Digest }))
    expectStatus(await b.client.get(target), 200)
    expect(b.statements()).toBeGreaterThan(asked)
  })
})

describe('a replica whose listening connection is ended', () => {
  it('reads what it remembered again, and remembers once more when it is back', async () => {
    await pushEmpty(a.client, 'revoked/ended')
    const [kept, gone] = [await pushArtifact('revoked/ended'), await pushArtifact('revoked/ended')]
    await warm(b, kept)
    await warm(b, gone)
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name like 'slipway_listener_%'`,
    )
    await until('the loss', () => b.registry.changes?.areHeard() === false, 1000)
    const before = b.statements()
    expectStatus(await b.client.get(kept), 200)
    expect(b.statements()).toBeGreaterThan(before)
    expectStatus(await a.client.delete(gone), 202)
    expectStatus(await b.client.get(gone), 404)

    await untilShared()
    await warm(b, kept)
    expectStatus(await a.client.delete(kept), 202)
    expectStatus(await b.client.get(kept), 404)
  })
})
