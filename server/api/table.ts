import { z } from 'zod'
import { ACCESS } from './access.ts'
import { AUDIT } from './audit.ts'
import { DELETED_REPOSITORIES } from './deleted-repositories.ts'
import { describeApi } from './document.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { GC } from './gc.ts'
import { GRANTS } from './grants.ts'
import { GROUPS } from './groups.ts'
import { KEYS } from './keys.ts'
import { LEASES } from './leases.ts'
import { ME } from './me.ts'
import { REPOSITORIES } from './repositories.ts'
import { RETENTION } from './retention.ts'
import { ROBOTS } from './robots.ts'
import { SIZES } from './sizes.ts'
import { TAGS } from './tags.ts'
import { TOKENS } from './tokens.ts'
import { USERS } from './users.ts'

const DOCUMENT = endpoint({
  id: 'getDocument',
  method: 'GET',
  path: '/openapi.json',
  summary: 'This document',
  who: 'anyone',
  answer: z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) }),
  handle: async () => describeApi(ENDPOINTS),
})

/** Everything below `/api/v1`. */
export const ENDPOINTS: readonly Endpoint[] = [
  ...ME,
  ...TOKENS,
  ...USERS,
  ...ROBOTS,
  ...GROUPS,
  ...GRANTS,
  ...ACCESS,
  ...AUDIT,
  ...KEYS,
  ...REPOSITORIES,
  ...GC,
  ...DELETED_REPOSITORIES,
  ...TAGS,
  ...LEASES,
  ...SIZES,
  ...RETENTION,
  DOCUMENT,
]
