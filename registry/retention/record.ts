import type { Queryable } from '../../storage/metadata/database.ts'
import {
  insertRetentionRun,
  type NewRetentionRun,
  pruneRetentionRuns,
  type RetentionRun,
} from '../../storage/metadata/retention-runs.ts'

/** Plans, and runs, of which it is remembered what they were. */
const REMEMBERED = 400

/** Records a plan, or a run, and forgets those of long ago. */
export async function recordRun(db: Queryable, run: NewRetentionRun): Promise<RetentionRun> {
  const recorded = await insertRetentionRun(db, run)
  await pruneRetentionRuns(db, REMEMBERED)
  return recorded
}
