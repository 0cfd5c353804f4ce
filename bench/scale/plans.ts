/* What the server did for each statement, by its own account: the plans it ran, not those it would. */
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import type { Connection } from './build.ts'

/** One statement as it was run, also one of a trigger or a foreign key. */
export interface RanStatement {
  readonly text: string
  /** As `explain (analyze, buffers)` prints it. */
  readonly plan: string
  /** Pages of tables and indexes that were looked at, each time. */
  readonly pages: number
  /** Prepared by a name, or within the server: the plan may be one for any values. */
  readonly isPrepared: boolean
}

export interface ExplainedPool {
  readonly pool: Pool
  /** What was run since it was asked before. */
  take(this: void): RanStatement[]
}

const SETTINGS = {
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_buffers': 'on',
  'auto_explain.log_timing': 'off',
  'auto_explain.log_nested_statements': 'on',
  'auto_explain.log_level': 'notice',
}

/**
 * A pool of one connection, whose statements are all explained.
 *
 * @param isGeneric plans are made for any values, from the first execution on; else as the server decides
 */
export function openExplainedPool(connection: Connection, isGeneric = false): ExplainedPool {
  const ran: RanStatement[] = []
  const unnamed = new Set<string>()
  const pool = openPool({ connection, size: 1, onError: () => {} })
  pool.on('connect', (client) => {
    const settings: Record<string, string> = {
      ...SETTINGS,
      ...(isGeneric && { plan_cache_mode: 'force_generic_plan' }),
    }
    client.on('notice', ({ message = '' }) => {
      const statement = parse(message)
      if (statement === undefined) return
      ran.push({ ...statement, isPrepared: !unnamed.has(statement.text) })
    })
    noteUnnamed(client, unnamed)
    const set = Object.entries(settings).map(([name, value]) => `set ${name} = '${value}'`)
    client.query(["load 'auto_explain'", ...set].join(';')).catch(() => {})
  })
  return { pool, take: () => ran.splice(0) }
}

interface Asking {
  query: (...args: never[]) => unknown
}

/** Statements without a name are planned for their values each time. */
function noteUnnamed(client: Asking, unnamed: Set<string>): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown
  client.query = (...args: unknown[]) => {
    const [statement] = args
    if (typeof statement === 'string') unnamed.add(statement.trim())
    else if (isUnnamed(statement)) unnamed.add(statement.text.trim())
    return query(...args)
  }
}

function isUnnamed(statement: unknown): statement is { readonly text: string } {
  return (
    typeof statement === 'object' &&
    statement !== null &&
    'text' in statement &&
    typeof statement.text === 'string' &&
    !('name' in statement && statement.name !== undefined)
  )
}

const MESSAGE =
  /^duration: [\d.]+ ms {2}plan:\nQuery Text: ([^]*?)\n((?:Query Parameters: .*\n)?)(\S.*\(cost=[^]*)$/

function parse(message: string): Omit<RanStatement, 'isPrepared'> | undefined {
  const [, text, parameters = '', plan] = MESSAGE.exec(message) ?? []
  if (text === undefined || plan === undefined) return undefined
  const lines = plan.split('\n')
  // The first that stands as deep as the uppermost node: it counts those below as well.
  const buffers = lines.find((line) => /^ {2}Buffers: /.test(line)) ?? ''
  const [, hit = '0'] = /shared[^,]*?hit=(\d+)/.exec(buffers) ?? []
  const [, read = '0'] = /shared[^,]*?read=(\d+)/.exec(buffers) ?? []
  return { text: text.trim(), plan: parameters + plan, pages: Number(hit) + Number(read) }
}

/** Tables that have as many rows as there is content. */
const LARGE = [
  'repositories',
  'manifests',
  'manifest_blobs',
  'manifest_children',
  'blobs',
  'repository_blobs',
  'tags',
  'tag_events',
]
const SEQUENTIAL = new RegExp(`Seq Scan on (${LARGE.join('|')})\\b`, 'g')

/** Large tables that a plan reads from end to end. */
export function tablesWalked({ plan }: RanStatement): string[] {
  return [...plan.matchAll(SEQUENTIAL)].map(([, table]) => table ?? '')
}
