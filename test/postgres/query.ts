import { Client } from 'pg'
import type { EmbeddedPostgres } from '../../postgres/embedded.ts'

/** One statement over a connection of its own. */
export async function query<Row extends object>(
  server: Pick<EmbeddedPostgres, 'connection'>,
  sql: string,
): Promise<Row[]> {
  const client = new Client(server.connection)
  // A server that dies under the connection is what some tests are about.
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}
