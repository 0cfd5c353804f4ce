import { setTimeout as sleep } from 'node:timers/promises'
import { startEmbeddedPostgres } from '../../postgres/embedded.ts'
import { query } from './query.ts'

// Runs a server until it is told to end; on SIGINT it uses the database once more, as an open request would.
const log = { info() {}, warn() {}, error() {} }
console.log('starting')
const server = await startEmbeddedPostgres({ directory: process.argv[2] ?? '', log })
process.on('SIGINT', () => void finish())
console.log('started')

async function finish(): Promise<void> {
  await sleep(300)
  const [row] = await query<{ answer: number }>(server, 'select 42 as answer')
  console.log(`answer ${row?.answer}`)
  await server.stop()
}
