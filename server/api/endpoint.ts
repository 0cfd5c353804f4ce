import type { z } from 'zod'
import type { AccessControl, Actor } from '../../auth/access-control.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { Registry } from '../../registry/registry.ts'
import type { RequestContext } from '../state.ts'

/**
 * Who may call an endpoint. `account`: who logs in with a password or a secret, or whoever comes
 * where nobody has to. `right`: the handler asks for what it takes.
 */
export type Who = 'anyone' | 'right' | 'account' | 'admin'

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** One line of the API: the router and the OpenAPI document are both made of these. */
export interface Endpoint {
  /** One of a kind, the document's `operationId`. */
  readonly id: string
  readonly method: Method
  /** As the router has it: `:name` is one segment, `*name` all that follow. */
  readonly path: string
  readonly summary: string
  readonly who: Who
  readonly query?: z.ZodObject
  readonly body?: z.ZodType
  /** Of an answer without an error; 200 when left out. */
  readonly status?: number
  /** What the answer looks like; left out where there is none. */
  readonly answer?: z.ZodType
  /** Whether it may be refused with 409. */
  readonly conflicts?: true
  /**
   * @returns what to answer, unless the handler did that itself
   * @throws RegistryError UNSUPPORTED with status 400 for a query or a body that is not as it says
   */
  readonly run: (request: ApiRequest) => Promise<unknown>
}

/** What came in, not looked at yet. */
interface ApiRequest {
  readonly registry: Registry
  readonly control: AccessControl
  readonly ctx: RequestContext
  readonly path: Readonly<Record<string, string>>
  readonly query: unknown
  readonly body: unknown
}

/** What a handler gets. */
interface Call<Names extends string, Query, Body>
  extends Pick<ApiRequest, 'registry' | 'control' | 'ctx'> {
  readonly actor: Actor
  readonly path: Readonly<Record<Names, string>>
  readonly query: Query
  readonly body: Body
}

type NamesIn<Path extends string> = Path extends `${string}/:${infer Name}/${infer Rest}`
  ? Name | NamesIn<`/${Rest}`>
  : Path extends `${string}/${':' | '*'}${infer Name}`
    ? Name
    : never

interface Definition<
  Path extends string,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodType,
> extends Omit<Endpoint, 'run'> {
  readonly path: Path
  readonly query?: Query
  readonly body?: Body
  readonly answer?: Answer
  readonly handle: (
    call: Call<NamesIn<Path>, z.output<Query>, z.output<Body>>,
  ) => Promise<z.output<Answer>>
}

/** Ties the types of path, query, body and answer to those of the handler. */
export function endpoint<
  Path extends string,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodType,
>({ handle, ...line }: Definition<Path, Query, Body, Answer>): Endpoint {
  const run = async ({ registry, control, ctx, path, query, body }: ApiRequest) => {
    const { access, address, requestId } = ctx.state
    return handle({
      registry,
      control,
      ctx,
      actor: { subject: access.subject, address, requestId },
      path,
      query: checked(line.query, query),
      body: checked(line.body, body),
    })
  }
  return { ...line, run }
}

const MOST_PROBLEMS = 10
const LONGEST_PROBLEM = 200

function checked<Schema extends z.ZodType>(
  schema: Schema | undefined,
  value: unknown,
): z.output<Schema> {
  // Without a schema the handler's type knows nothing of the value either.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  if (schema === undefined) return value as z.output<Schema>
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, MOST_PROBLEMS).map(({ path, message }) => {
    const problem = path.length === 0 ? message : `${path.join('.')}: ${message}`
    return problem.slice(0, LONGEST_PROBLEM)
  })
  throw new RegistryError('UNSUPPORTED', problems, { status: 400 })
}
