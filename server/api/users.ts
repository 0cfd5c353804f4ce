import { z } from 'zod'
import {
  addUser,
  editAccount,
  getAccount,
  getAccounts,
  removeAccount,
} from '../../auth/accounts/accounts.ts'
import {
  accountEditFields,
  accountSchema,
  editSchema,
  newAccountFields,
  showAccount,
} from './accounts.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { pageFields, pageSchema, showPage } from './page.ts'

const password = z.string().meta({ format: 'password', description: '8 to 1024 bytes of UTF-8.' })

export const USERS: readonly Endpoint[] = [
  endpoint({
    id: 'listUsers',
    method: 'GET',
    path: '/users',
    summary: 'List users by name',
    who: 'admin',
    query: z.strictObject(pageFields),
    answer: pageSchema(accountSchema),
    handle: ({ control, ctx, query }) =>
      showPage(ctx, query, {
        list: (page) => getAccounts(control, 'user', page),
        show: showAccount,
        cursor: ({ name }) => name,
      }),
  }),
  endpoint({
    id: 'createUser',
    method: 'POST',
    path: '/users',
    summary: 'Add a user',
    who: 'admin',
    body: z.strictObject({ ...newAccountFields, password: password.optional() }),
    status: 201,
    answer: accountSchema,
    conflicts: true,
    handle: async ({ control, actor, body: { password: given, expiresAt, ...user } }) =>
      showAccount(
        await addUser(control, actor, {
          ...user,
          password: given,
          expiresAt: expiresAt ?? undefined,
        }),
      ),
  }),
  endpoint({
    id: 'getUser',
    method: 'GET',
    path: '/users/:name',
    summary: 'Show a user',
    who: 'admin',
    answer: accountSchema,
    handle: async ({ control, path: { name } }) =>
      showAccount(await getAccount(control, { kind: 'user', name })),
  }),
  endpoint({
    id: 'changeUser',
    method: 'PATCH',
    path: '/users/:name',
    summary: 'Change what is given of a user; a new password, and disabling, end its tokens',
    who: 'admin',
    body: editSchema({ ...accountEditFields, password: password.optional() }),
    answer: accountSchema,
    conflicts: true,
    handle: async ({ control, actor, path: { name }, body }) =>
      showAccount(await editAccount(control, actor, { kind: 'user', name }, body)),
  }),
  endpoint({
    id: 'deleteUser',
    method: 'DELETE',
    path: '/users/:name',
    summary: 'Remove a user with its tokens and the grants that name it',
    who: 'admin',
    status: 204,
    conflicts: true,
    handle: ({ control, actor, path: { name } }) =>
      removeAccount(control, actor, { kind: 'user', name }),
  }),
]
