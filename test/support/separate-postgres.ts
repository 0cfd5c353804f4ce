import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../postgres/embedded.ts'

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

/**
 * A PostgreSQL server with its data in `directory`, as servers meet one that is not their own:
 * they are given its address. `onClose` gets what stops it.
 */
export async function startSeparatePostgres(
  directory: string,
  onClose: (stop: () => Promise<void>) => void,
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ directory, log: SILENT })
  onClose(() => postgres.stop())
  return postgres
}
