import { cpus } from 'node:os'
import { slipway } from '../peers/slipway.ts'
import type { Options } from './options.ts'
import { detailsOf, type Row, tableOf } from './table.ts'

/** The whole document. */
export async function reportOf(
  rows: readonly Row[],
  { setup, connections }: Options,
): Promise<string> {
  const { auth, database, workers } = setup
  return `# What one request costs

Written by \`npm run bench:budget\`. Slipway ${await slipway.version()}, Node ${process.version}, ${cpus().length} cores;
database ${database}, auth ${auth}, workers ${workers}, connections ${connections}.

${tableOf(rows)}

## By name

${detailsOf(rows)}

## How to read it

Counts of one pass divided by its requests, without what the idle server does in the same time.
SQL is what pg_stat_statements saw, with begin and commit; round trips are sends to the database after
something came from it. Calls are those of all threads of Slipway's processes, by what they were
done to: sockets of clients and of the database, files, the log. Wake-ups are writes by which one thread
tells another that there is work done. Of Postgres only syncs were counted. WAL holds copies of whole
pages, each once after a checkpoint. Heap is what was allocated for objects; external memory, of buffers, is
a lower bound. CPU times come from a clock of 10 ms, with the counting of statements and allocations in
them: noisy, good for a first look only.
`
}
