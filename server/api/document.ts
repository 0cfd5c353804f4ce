import { z } from 'zod'
import { accountSchema } from './accounts.ts'
import { auditEventSchema } from './audit.ts'
import { deletedRepositorySchema } from './deleted-repositories.ts'
import type { Endpoint } from './endpoint.ts'
import { grantSchema } from './grants.ts'
import { groupSchema } from './groups.ts'
import { leaseSchema } from './leases.ts'
import { repositorySchema } from './repositories.ts'
import { tagChangeSchema } from './tags.ts'
import { tokenSchema } from './tokens.ts'

type Json = Record<string, unknown>

const errorsSchema = z.strictObject({
  errors: z.array(
    z.strictObject({ code: z.string(), message: z.string(), detail: z.string().optional() }),
  ),
})

/** Answers that have a name of their own; the others are named after their operation. */
const NAMED: Readonly<Record<string, z.ZodType>> = {
  Account: accountSchema,
  Token: tokenSchema,
  Group: groupSchema,
  Grant: grantSchema,
  AuditEvent: auditEventSchema,
  Repository: repositorySchema,
  DeletedRepository: deletedRepositorySchema,
  TagChange: tagChangeSchema,
  Lease: leaseSchema,
  Errors: errorsSchema,
}

/** What a status means wherever it occurs, and how the document calls it. */
const REFUSALS: Readonly<Record<number, readonly [name: string, description: string]>> = {
  400: ['Invalid', 'The query, the body or a name is not as it has to be.'],
  401: ['Unauthorized', 'Credentials are needed, or those shown are not good.'],
  403: ['Denied', 'The caller may not do this.'],
  404: ['Unknown', 'There is no such thing.'],
  409: ['Conflict', 'The name is taken, or nobody would be left to administer.'],
  413: ['TooLarge', 'The body has more than 64 KiB.'],
  415: ['NotJson', 'The Content-Type of the body is not application/json.'],
  429: ['TooMany', 'Too many requests or failed logins; `Retry-After` says when to try again.'],
}

/** The endpoints as an OpenAPI 3.1 document. */
export function describeApi(
  endpoints: readonly Endpoint[],
): Json & { openapi: string; paths: Json } {
  const answers = new Map(Object.entries(NAMED).map(([name, schema]) => [schema, name]))
  const bodies = new Map<z.ZodType, string>()
  for (const { id, body, answer } of endpoints) {
    if (answer !== undefined && !answers.has(answer)) answers.set(answer, `${capital(id)}Answer`)
    if (body !== undefined && !bodies.has(body)) bodies.set(body, `${capital(id)}Body`)
  }
  const paths: Record<string, Json> = {}
  for (const each of endpoints) {
    const path = (paths[templateOf(each.path)] ??= {})
    path[each.method.toLowerCase()] = describe(each, {
      body: each.body && bodies.get(each.body),
      answer: each.answer && answers.get(each.answer),
    })
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Slipway',
      version: '1',
      description: 'Administration of a Slipway registry. Images are pushed and pulled below /v2.',
    },
    servers: [{ url: '/api/v1' }],
    paths,
    components: {
      schemas: { ...schemasOf(answers, 'output'), ...schemasOf(bodies, 'input') },
      responses: Object.fromEntries(
        Object.values(REFUSALS).map(([name, text]) => [
          name,
          { description: text, content: json('Errors') },
        ]),
      ),
      securitySchemes: SECURITY,
    },
  }
}

const SECURITY: Json = {
  basicAuth: {
    type: 'http',
    scheme: 'basic',
    description: 'A name with a password, a personal token or the secret of a robot.',
  },
  bearerAuth: {
    type: 'http',
    scheme: 'bearer',
    description:
      'A personal token or the secret of a robot. A token of the registry is for pulls and pushes.',
  },
}

const EITHER = [{ basicAuth: [] }, { bearerAuth: [] }]

function describe(
  each: Endpoint,
  names: { readonly body: string | undefined; readonly answer: string | undefined },
): Json {
  const { id, path, summary, who, status = 200 } = each
  const content = names.answer === undefined ? {} : { content: json(names.answer) }
  return {
    operationId: id,
    summary,
    tags: [path.split('/')[1]],
    security: { anyone: [], right: [{}, ...EITHER], account: EITHER, admin: EITHER }[who],
    parameters: [...pathParameters(path), ...queryParameters(each.query)],
    ...(names.body === undefined
      ? {}
      : { requestBody: { required: true, content: json(names.body) } }),
    responses: {
      [status]: { description: 'Done.', ...content },
      ...Object.fromEntries(
        refusalsOf(each).map((refusal) => [refusal, refusalReference(refusal)]),
      ),
    },
  }
}

function refusalsOf({ path, who, query, body, conflicts }: Endpoint): number[] {
  const hasNames = parametersIn(path).length > 0
  const refusals = [
    ...(query !== undefined || body !== undefined || hasNames ? [400] : []),
    ...(who === 'anyone' ? [] : [401, 403]),
    ...(hasNames ? [404] : []),
    ...(conflicts ? [409] : []),
    ...(body === undefined ? [] : [413, 415]),
  ]
  return [...refusals, 429]
}

function refusalReference(status: number): Json {
  return { $ref: `#/components/responses/${REFUSALS[status]?.[0]}` }
}

function json(name: string): Json {
  return { 'application/json': { schema: { $ref: reference(name) } } }
}

function reference(name: string): string {
  return `#/components/schemas/${name}`
}

/** `/users/:name` of the router, as OpenAPI has it: `/users/{name}`. */
function templateOf(path: string): string {
  return path.replaceAll(/[:*](\w+)/g, '{$1}')
}

function parametersIn(path: string): string[] {
  return [...path.matchAll(/[:*](\w+)/g)].map((match) => match[1] ?? '')
}

function pathParameters(path: string): Json[] {
  return parametersIn(path).map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters(query: z.ZodObject | undefined): Json[] {
  if (query === undefined) return []
  const { properties = {}, required = [] } = z.toJSONSchema(query, {
    io: 'input',
    override: simplify,
  })
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    ...(required.includes(name) ? { required: true } : {}),
    schema,
  }))
}

/** `input`: as it has to be sent; `output`: as it comes. */
function schemasOf(names: ReadonlyMap<z.ZodType, string>, io: 'input' | 'output'): Json {
  const registry = z.registry<{ id: string }>()
  for (const [schema, id] of names) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, {
    io,
    uri: reference,
    override: (made) => simplify(made, io),
  })
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _dialect, $id: _id, ...schema }]) => [id, schema]),
  )
}

function simplify(
  { jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema },
  io: 'input' | 'output' = 'input',
): void {
  // The pattern of a time is a screen long, and says what `date-time` says.
  if (jsonSchema.format === 'date-time' || jsonSchema.format === 'uuid') delete jsonSchema.pattern
  // Answers may have more one day.
  if (io === 'output') delete jsonSchema.additionalProperties
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
