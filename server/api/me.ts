import { z } from 'zod'
import { changePassword } from '../../auth/accounts/accounts.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { names, showCoverage, shownCoverageFields } from './fields.ts'
import { ownUser } from './own-user.ts'

export const ME: readonly Endpoint[] = [
  endpoint({
    id: 'getMe',
    method: 'GET',
    path: '/me',
    summary: 'Tell who is asking',
    who: 'account',
    answer: z.strictObject({
      subject: z.string().nullable().meta({ description: 'null: anonymous.' }),
      admin: z.boolean(),
      groups: names,
      coverage: z
        .array(z.strictObject(shownCoverageFields))
        .nullable()
        .meta({ description: 'The most that this token may do; null: no limit.' }),
    }),
    handle: async ({ ctx }) => {
      const { principal, isAdmin } = ctx.state.access
      const groups = principal.subjects.filter((each) => each.startsWith('group:'))
      return {
        subject: principal.subject ?? null,
        admin: isAdmin,
        groups: groups.map((each) => each.slice('group:'.length)),
        coverage: principal.limit?.map(showCoverage) ?? null,
      }
    },
  }),
  endpoint({
    id: 'changeMyPassword',
    method: 'PUT',
    path: '/me/password',
    summary: 'Change one’s own password; all tokens and logins obtained with it end',
    who: 'account',
    body: z.strictObject({
      current: z.string().meta({ format: 'password' }),
      new: z.string().meta({ format: 'password', description: '8 to 1024 bytes of UTF-8.' }),
    }),
    status: 204,
    handle: async (call) => {
      const name = await ownUser(call, 'changes')
      const { current, new: password } = call.body
      await changePassword(call.control, call.actor, { name, current, password })
    },
  }),
]
