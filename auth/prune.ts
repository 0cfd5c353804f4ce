import { pruneAuditEvents } from '../storage/metadata/audit.ts'
import { pruneCredentials } from '../storage/metadata/credentials.ts'
import type { Pool } from '../storage/metadata/database.ts'
import { pruneLoginFailures } from '../storage/metadata/login-failures.ts'
import { pruneUsedAssertions } from '../storage/metadata/used-assertions.ts'

/** Deletes what has expired, and audit events older than `auditDays`. */
export async function pruneAccessRecords(db: Pool, auditDays: number): Promise<void> {
  await pruneCredentials(db)
  await pruneLoginFailures(db)
  await pruneUsedAssertions(db)
  await pruneAuditEvents(db, auditDays)
}
