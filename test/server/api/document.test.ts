import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { apiRoutes } from '../../../server/api/routes.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { type Api, addUser, apiOf } from './json.ts'

type Json = Record<string, unknown>

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly security: readonly Json[]
  readonly parameters: readonly { name: string; in: string; required?: boolean; schema: Json }[]
  readonly requestBody?: { content: Json }
  readonly responses: Readonly<Record<string, Json>>
}

interface OpenApi {
  readonly openapi: string
  readonly info: { title: string; version: string }
  readonly servers: readonly { url: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: Readonly<Record<string, Json>>
}

describe('the OpenAPI document', () => {
  let running: RunningRegistry
  let admin: Api
  let document: OpenApi
  let operations: { path: string; method: string; operation: Operation }[]
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    admin = apiOf(running.client, await addUser(running.registry.access, 'root', { admin: true }))
    const answer = await apiOf(running.client, undefined)('GET', '/openapi.json')
    document = answer.body as unknown as OpenApi
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    )
  })
  afterAll(() => running.close())

  it('is one of version 3.1 for what is below /api/v1', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info).toMatchObject({ title: 'Slipway', version: '1' })
    expect(document.servers).toEqual([{ url: '/api/v1' }])
    expect(operations.length).toBeGreaterThan(35)
  })

  it('has every path that there is, and no other', () => {
    const router = apiRoutes(running.registry.registry, running.registry.access)
    const routed = router.stack.map((layer) =>
      String(layer.path)
        .replace('/api/v1', '')
        .replaceAll(/[:*](\w+)/g, '{$1}'),
    )
    expect(Object.keys(document.paths).toSorted()).toEqual(routed.toSorted())
  })

  it('has every method that a path has, and no other', async () => {
    const all = ['get', 'post', 'put', 'patch', 'delete']
    for (const [path, methods] of Object.entries(document.paths)) {
      const concrete = path.replaceAll(/\{\w+\}/g, 'nobody')
      for (const method of all.filter((each) => !(each in methods))) {
        const { status } = await admin(method.toUpperCase(), concrete)
        expect([path, method, status]).toEqual([path, method, 405])
      }
      const answer = await admin('OPTIONS', concrete)
      const allowed = String(answer.headers['allow']).toLowerCase().split(', ')
      expect(allowed.filter((method) => method !== 'head')).toEqual(Object.keys(methods))
    }
  })

  it('has a name of its own for each operation, and says what it does', () => {
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { operation } of operations) expect(operation.summary).toMatch(/^[A-Z].{5,}/)
  })

  it('declares every parameter of a path, and no parameter twice', () => {
    for (const { path, operation } of operations) {
      const declared = operation.parameters.filter((each) => each.in === 'path')
      const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      expect(declared.map(({ name }) => name)).toEqual(named)
      expect(declared.every(({ required }) => required === true)).toBe(true)
      const keys = operation.parameters.map((each) => `${each.in} ${each.name}`)
      expect(new Set(keys).size).toBe(keys.length)
      for (const { schema } of operation.parameters) expect(schema).toHaveProperty('type')
    }
  })

  it('refers to nothing that is not in it, and has nothing that is not referred to', () => {
    const references = new Set(referencesIn(document))
    expect(references.size).toBeGreaterThan(30)
    for (const reference of references) expect(find(document, reference)).toBeTypeOf('object')
    const named = ['schemas', 'responses'].flatMap((kind) =>
      Object.keys(document.components[kind]!).map((name) => `#/components/${kind}/${name}`),
    )
    expect(named.filter((each) => !references.has(each))).toEqual([])
  })

  it('tells of 401 and 403 where credentials are asked for, and of a way to show them', () => {
    const open = operations.filter(({ operation }) => operation.security.length === 0)
    expect(open.map(({ operation }) => operation.operationId)).toEqual(['getDocument'])
    for (const { operation } of operations.filter((each) => !open.includes(each))) {
      const statuses = Object.keys(operation.responses)
      expect(statuses).toEqual(expect.arrayContaining(['401', '403', '429']))
      expect(operation.security).toEqual(
        expect.arrayContaining([{ basicAuth: [] }, { bearerAuth: [] }]),
      )
    }
    expect(Object.keys(document.components['securitySchemes']!)).toEqual([
      'basicAuth',
      'bearerAuth',
    ])
  })

  it('tells of the refusals of bodies and names, and of one success', () => {
    for (const { path, operation } of operations) {
      const statuses = Object.keys(operation.responses)
      const success = statuses.filter((status) => status.startsWith('2'))
      expect(success).toHaveLength(1)
      const isEmpty = success[0] === '204' || success[0] === '202'
      expect('content' in operation.responses[success[0]!]!).toBe(!isEmpty)
      const ofBodies = operation.requestBody === undefined ? [] : ['400', '413', '415']
      const ofNames = path.includes('{') ? ['400', '404'] : []
      expect(statuses).toEqual(expect.arrayContaining([...ofBodies, ...ofNames]))
    }
  })

  it('says of a body what may be sent, and of an answer what comes', () => {
    const { schemas } = document.components as unknown as {
      schemas: Record<string, { properties: Json; required: string[] } & Json>
    }
    expect(schemas['CreateUserBody']).toMatchObject({
      required: ['name'],
      additionalProperties: false,
      properties: { password: { type: 'string', format: 'password' } },
    })
    expect(schemas['Account']!.required).toContain('expiresAt')
    expect(schemas['Account']!.properties['createdAt']).toEqual({
      type: 'string',
      format: 'date-time',
    })
    expect(schemas['Account']).not.toHaveProperty('additionalProperties')
    expect(JSON.stringify(schemas['Account'])).not.toMatch(/password|hash|secret/i)
    const limit = document.paths['/users']!['get']!.parameters.find(({ name }) => name === 'limit')
    expect(limit!.schema).toMatchObject({
      type: 'integer',
      minimum: 1,
      maximum: 1000,
    })
  })
})

function referencesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, each]) =>
    key === '$ref' ? [String(each)] : referencesIn(each),
  )
}

function find(document: unknown, reference: string): unknown {
  expect(reference).toMatch(/^#\//)
  return reference
    .slice(2)
    .split('/')
    .reduce<unknown>((at, name) => (at as Json | undefined)?.[name], document)
}
