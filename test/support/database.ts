import { randomUUID } from 'node:crypto'
import { Client, type Pool } from 'pg'
import { inject } from 'vitest'
import { openPool } from '../../storage/metadata/database.ts'
import { TEMPLATE } from './global-setup.ts'

export interface TestDatabase {
  readonly connection: { host: string; port: number; user: string; database: string }
  readonly pool: Pool
  close(): Promise<void>
}

/** A migrated, empty database of its own, cloned from the template. */
export async function openTestDatabase(): Promise<TestDatabase> {
  const server = inject('database')
  const database = `slipway_test_${randomUUID().replaceAll('-', '')}`
  await asAdmin(`create database ${database} template ${TEMPLATE}`)
  const connection = { ...server, database }
  const pool = openPool({ connection, size: 10, onError: () => {} })
  return {
    connection,
    pool,
    close: async () => {
      await pool.end()
      await asAdmin(`drop database ${database} with (force)`)
    },
  }
}

async function asAdmin(statement: string): Promise<void> {
  const client = new Client(inject('database'))
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
