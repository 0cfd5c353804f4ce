import { z } from 'zod'
import type { Access } from '../../auth/access.ts'
import { parseDigest } from '../../oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { addLease, getLeases, type Lease, removeLease } from '../../registry/leases.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { rowId, showTime, time } from './fields.ts'
import { limit, pageSchema, showPage } from './page.ts'
import { recorded } from './recorded.ts'

const MOST_SECONDS = 10 * 365 * 86_400

export const leaseSchema = z.strictObject({
  id: z.string(),
  repository: z.string(),
  digest: z.string(),
  holder: z.string(),
  expiresAt: time,
  createdAt: time,
  createdBy: z.string().nullable(),
})

function showLease(lease: Lease): z.output<typeof leaseSchema> {
  const { id, repository, digest, holder, createdBy } = lease
  const times = { expiresAt: showTime(lease.expiresAt), createdAt: showTime(lease.createdAt) }
  return { id, repository, digest, holder, ...times, createdBy }
}

const holder = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}]+$/u, 'has a control character in it')
  .meta({ description: 'Who needs it, such as `cluster:prod`.' })

const digest = z.string().meta({ description: 'Of a manifest or a blob.' })

export const LEASES: readonly Endpoint[] = [
  endpoint({
    id: 'listLeases',
    method: 'GET',
    path: '/leases',
    summary: 'List leases that are not over, those of all repositories for an administrator',
    who: 'right',
    query: z.strictObject({
      repository: z.string().optional(),
      after: rowId.optional().meta({ description: 'The `next` of the page before.' }),
      limit,
    }),
    answer: pageSchema(leaseSchema),
    handle: ({ registry, ctx, query }) => {
      const { repository: name } = query
      const repository = name === undefined ? undefined : parseRepositoryName(name)
      requireRight(ctx.state.access, repository)
      const request = { after: query.after ?? '', limit: query.limit }
      return showPage(ctx, request, {
        list: (page) => getLeases(registry, repository, page),
        show: showLease,
        cursor: ({ id }) => id,
      })
    },
  }),
  endpoint({
    id: 'addLease',
    method: 'POST',
    path: '/leases',
    summary: 'Keep a manifest or a blob for some time, or renew the lease of the same holder',
    who: 'right',
    body: z.strictObject({
      repository: z.string(),
      digest,
      holder,
      seconds: z.int().min(1).max(MOST_SECONDS).meta({ description: 'From now on.' }),
    }),
    answer: leaseSchema,
    conflicts: true,
    handle: (call) => {
      const repository = parseRepositoryName(call.body.repository)
      const lease = { ...call.body, repository, digest: parseDigest(call.body.digest) }
      const deed = { action: 'lease.add', repository, target: lease.digest }
      const { access } = call.ctx.state
      return recorded(call, deed, async () => {
        requireRight(access, repository)
        return showLease(await addLease(call.registry, { ...lease, actor: access.subject }))
      })
    },
  }),
  endpoint({
    id: 'deleteLease',
    method: 'DELETE',
    path: '/leases',
    summary: 'End a lease before its time',
    who: 'right',
    query: z.strictObject({ repository: z.string(), digest, holder }),
    status: 204,
    handle: (call) => {
      const repository = parseRepositoryName(call.query.repository)
      const lease = { ...call.query, repository, digest: parseDigest(call.query.digest) }
      const deed = { action: 'lease.remove', repository, target: lease.digest }
      return recorded(call, deed, async () => {
        requireRight(call.ctx.state.access, repository)
        await removeLease(call.registry, lease)
      })
    },
  }),
]

/** Who may push may keep what is there; an administrator anything. */
function requireRight(access: Access, repository: RepositoryName | undefined): void {
  if (repository === undefined) return access.requireAdmin()
  // Right by some tags is none over what others need.
  if (access.allows(repository, 'push')) return access.requireWhole(repository, 'push')
  if (access.isAdmin) access.requireAdmin()
  else access.require(repository, 'push')
}
