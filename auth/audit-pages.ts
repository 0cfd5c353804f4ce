import {
  type AuditFilter,
  listAuditEvents,
  type StoredAuditEvent,
} from '../storage/metadata/audit.ts'
import type { AccessControl } from './access-control.ts'

export type { AuditFilter, StoredAuditEvent }

/** One page, the newest first: events with ids below `before`, '' to begin. */
export function getAuditEvents(
  { db }: AccessControl,
  filter: AuditFilter,
  page: { readonly before: string; readonly limit: number },
): Promise<StoredAuditEvent[]> {
  return listAuditEvents(db, filter, page)
}
