import { z } from 'zod'
import { explain } from '../../auth/rules/explain.ts'
import { ACTIONS } from '../../auth/rules/grant.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { showCoverage, shownCoverageFields } from './fields.ts'

export const ACCESS: readonly Endpoint[] = [
  endpoint({
    id: 'listGrantsInForce',
    method: 'GET',
    path: '/access/grants',
    summary: 'List every grant in force, with where it stands; all of them at once',
    who: 'admin',
    answer: z.strictObject({
      items: z.array(
        z.strictObject({
          origin: z.string().meta({ description: 'A grant by its id, or a place in a file.' }),
          effect: z.enum(['allow', 'deny']),
          subject: z.string(),
          ...shownCoverageFields,
        }),
      ),
    }),
    handle: async ({ control }) => {
      const { grants } = await control.records.policy()
      return {
        items: grants.map(({ origin, effect, subject, ...coverage }) => ({
          origin,
          effect,
          subject,
          ...showCoverage(coverage),
        })),
      }
    },
  }),
  endpoint({
    id: 'explainAccess',
    method: 'GET',
    path: '/access/explain',
    summary: 'Tell whether somebody may do something, and by which rule',
    who: 'admin',
    query: z.strictObject({
      who: z.string().meta({ description: 'A user, a robot, or `anonymous`.' }),
      action: z.enum(ACTIONS),
      image: z.string().meta({ description: '`team/app`, `team/app:tag` or `team/app@sha256:…`.' }),
    }),
    answer: z.strictObject({ allowed: z.boolean(), why: z.string() }),
    handle: async ({ control, query }) => {
      const { allowed, why } = await explain(control, query)
      return { allowed, why }
    },
  }),
]
