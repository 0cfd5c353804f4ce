import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { editAccount } from '../../auth/accounts/accounts.ts'
import { addGrant, removeGrant } from '../../auth/accounts/grants.ts'
import { RawConnection } from '../support/raw-http.ts'
import {
  addUser,
  basic,
  bearerFor,
  type GuardedRegistry,
  OPERATOR,
  runGuarded,
} from './accounts.ts'
import { expectError, expectStatus, sha256, someBytes } from './client.ts'

const INDEX = '{"schemaVersion":2,"manifests":[]}'
const TYPE = 'application/vnd.oci.image.index.v1+json'

describe('a request that was let in and takes its time', () => {
  let now = new Date()
  let running: GuardedRegistry
  let users = 0
  let name: string
  let repository: string

  beforeAll(async () => {
    running = await runGuarded({ terms: { now: () => now } })
  })
  afterAll(() => running.close())
  beforeEach(async () => {
    now = new Date()
    name = `slow-${++users}`
    repository = `slow/${name}`
    await addUser(running.access, name, { [repository]: ['pull', 'push', 'overwrite'] })
  })

  const disable = () =>
    editAccount(running.access, OPERATOR, { kind: 'user', name }, { disabled: true })

  const token = () => bearerFor(running.client, basic(name), `repository:${repository}:pull,push`)

  /** Sends the first half, lets `meanwhile` happen, then sends the rest. */
  async function slowly(
    method: string,
    path: string,
    body: Buffer,
    { authorization, meanwhile }: { authorization: string; meanwhile: () => Promise<unknown> },
  ) {
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin(method, path, {
      Authorization: authorization,
      'Content-Type': TYPE,
      'Content-Length': body.length,
    })
    await connection.send(body.subarray(0, 10))
    await sleep(100) // let in by now
    await meanwhile()
    await connection.send(body.subarray(10))
    const answer = await connection.answer()
    await connection.close()
    return answer
  }

  async function anHour(): Promise<void> {
    now = new Date(now.getTime() + 3_600_000)
  }

  const manifest = () => `/v2/${repository}/manifests/v1`

  it.each(['token', 'password'])(
    'makes nothing when its sender was disabled meanwhile, who showed a %s',
    async (shown) => {
      const authorization = shown === 'token' ? await token() : basic(name)
      const terms = { authorization, meanwhile: disable }
      const put = await slowly('PUT', manifest(), Buffer.from(INDEX), terms)
      expectError(put, 401, 'UNAUTHORIZED')
      expectStatus(await running.admin.get(manifest()), 404)
    },
  )

  it('makes no blob either', async () => {
    const blob = someBytes()
    const path = `/v2/${repository}/blobs/uploads/?digest=${sha256(blob)}`
    const terms = { authorization: await token(), meanwhile: disable }
    expectError(await slowly('POST', path, blob, terms), 401, 'UNAUTHORIZED')
    expectStatus(await running.admin.head(`/v2/${repository}/blobs/${sha256(blob)}`), 404)
  })

  it('makes no tag that nobody may make any more', async () => {
    const deny = { effect: 'deny', subject: 'everyone', repositories: [repository] } as const
    const meanwhile = async () => {
      await addGrant(running.access, OPERATOR, { ...deny, tags: ['v*'], actions: ['push'] })
    }
    const put = await slowly('PUT', manifest(), Buffer.from(INDEX), {
      authorization: await token(),
      meanwhile,
    })
    expectError(put, 403, 'DENIED')
  })

  it('ends well though its token expires meanwhile', async () => {
    const terms = { authorization: await token(), meanwhile: anHour }
    expectStatus(await slowly('PUT', manifest(), Buffer.from(INDEX), terms), 201)
  })

  it('ends well when rules change that are not about it', async () => {
    const grant = { effect: 'allow', subject: 'everyone', repositories: ['x'] } as const
    const meanwhile = async () => {
      const { id } = await addGrant(running.access, OPERATOR, { ...grant, actions: ['pull'] })
      await removeGrant(running.access, OPERATOR, id)
    }
    const terms = { authorization: await token(), meanwhile }
    expectStatus(await slowly('PUT', manifest(), Buffer.from(INDEX), terms), 201)
    expect((await running.admin.get(manifest())).body.toString()).toBe(INDEX)
  })
})
