import { z } from 'zod'
import { pageOf } from '../../registry/page.ts'
import { only, setNextLink } from '../http/query.ts'
import type { RequestContext } from '../state.ts'
import { count } from './fields.ts'

const STANDARD = 100
const MAX = 1000

export const limit = count(MAX)
  .default(STANDARD)
  .meta({ description: `Items of a page, 1 to ${MAX}; ${STANDARD} when left out.` })

/** The query of a list in the order of names. */
export const pageFields = {
  limit,
  after: z.string().default('').meta({ description: 'The `next` of the page before.' }),
}

/** One page of a list. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.strictObject({
    items: z.array(item),
    next: z.string().optional().meta({ description: 'Left out on the last page.' }),
  })
}

export interface Listing<Row, Item> {
  /** At most so many rows, those after `after`. */
  readonly list: (page: {
    readonly after: string
    readonly limit: number
  }) => Promise<readonly Row[]>
  readonly show: (row: Row) => Item
  /** What the next page begins after, when this is the last one here. */
  readonly cursor: (item: Item) => string
  /** The parameter of the query that the cursor goes into; `after` when left out. */
  readonly parameter?: 'after' | 'before'
}

/** One page, and where the next one is: as a cursor, and as a link in a header. */
export async function showPage<Row, Item>(
  ctx: RequestContext,
  request: { readonly after: string; readonly limit: number },
  { list, show, cursor, parameter = 'after' }: Listing<Row, Item>,
): Promise<{ items: Item[]; next?: string }> {
  const { names: rows, more } = await pageOf(request, list)
  const items = rows.map(show)
  const last = items.at(-1)
  if (!more || last === undefined) return { items }
  const next = cursor(last)
  const others = Object.keys(ctx.query).filter((name) => name !== parameter)
  setNextLink(ctx, [
    ...others.map((name): [string, string] => [name, only(ctx, name) ?? '']),
    [parameter, next],
  ])
  return { items, next }
}
