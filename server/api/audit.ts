import { z } from 'zod'
import { getAuditEvents, type StoredAuditEvent } from '../../auth/audit-pages.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { instant, rowId, showTime, time } from './fields.ts'
import { limit, pageSchema, showPage } from './page.ts'

const result = z.enum(['done', 'denied', 'failed'])

export const auditEventSchema = z.strictObject({
  id: z.string(),
  at: time,
  actor: z.string().nullable().meta({ description: 'null: anonymous.' }),
  action: z.string(),
  repository: z.string().nullable(),
  target: z.string().nullable(),
  result,
  address: z.string().nullable(),
  requestId: z.string().nullable(),
  detail: z.string().nullable(),
})

function showEvent(event: StoredAuditEvent): z.output<typeof auditEventSchema> {
  return {
    id: event.id,
    at: showTime(event.at),
    actor: event.actor ?? null,
    action: event.action,
    repository: event.repository ?? null,
    target: event.target ?? null,
    result: event.result,
    address: event.address ?? null,
    requestId: event.requestId ?? null,
    detail: event.detail ?? null,
  }
}

export const AUDIT: readonly Endpoint[] = [
  endpoint({
    id: 'listAuditEvents',
    method: 'GET',
    path: '/audit',
    summary: 'List what was done and what was refused, the newest first',
    who: 'admin',
    query: z.strictObject({
      actor: z.string().optional(),
      action: z.string().optional(),
      repository: z.string().optional(),
      result: result.optional(),
      address: z.string().optional(),
      since: instant.optional().meta({ description: 'The earliest time.' }),
      until: instant.optional().meta({ description: 'Events at this time are left out.' }),
      before: rowId.optional().meta({ description: 'The `next` of the page before.' }),
      limit,
    }),
    answer: pageSchema(auditEventSchema),
    handle: ({ control, ctx, query: { before = '', limit: size, ...filter } }) =>
      showPage(
        ctx,
        { after: before, limit: size },
        {
          list: (page) =>
            getAuditEvents(control, filter, { before: page.after, limit: page.limit }),
          show: showEvent,
          cursor: ({ id }) => id,
          parameter: 'before',
        },
      ),
  }),
]
