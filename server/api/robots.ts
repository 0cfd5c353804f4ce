import { z } from 'zod'
import {
  addRobot,
  editAccount,
  getAccount,
  getAccounts,
  removeAccount,
  renewRobotSecret,
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

/** A robot at the only time its secret is known. */
const robotWithSecret = accountSchema.extend({ secret: z.string() })

export const ROBOTS: readonly Endpoint[] = [
  endpoint({
    id: 'listRobots',
    method: 'GET',
    path: '/robots',
    summary: 'List robots by name',
    who: 'admin',
    query: z.strictObject(pageFields),
    answer: pageSchema(accountSchema),
    handle: ({ control, ctx, query }) =>
      showPage(ctx, query, {
        list: (page) => getAccounts(control, 'robot', page),
        show: showAccount,
        cursor: ({ name }) => name,
      }),
  }),
  endpoint({
    id: 'createRobot',
    method: 'POST',
    path: '/robots',
    summary: 'Add a robot; the answer is the only place where its secret is shown',
    who: 'admin',
    body: z.strictObject(newAccountFields),
    status: 201,
    answer: robotWithSecret,
    conflicts: true,
    handle: async ({ control, actor, body: { expiresAt, ...robot } }) => {
      const added = { ...robot, expiresAt: expiresAt ?? undefined }
      const { account, secret } = await addRobot(control, actor, added)
      return { ...showAccount(account), secret }
    },
  }),
  endpoint({
    id: 'getRobot',
    method: 'GET',
    path: '/robots/:name',
    summary: 'Show a robot',
    who: 'admin',
    answer: accountSchema,
    handle: async ({ control, path: { name } }) =>
      showAccount(await getAccount(control, { kind: 'robot', name })),
  }),
  endpoint({
    id: 'changeRobot',
    method: 'PATCH',
    path: '/robots/:name',
    summary: 'Change what is given of a robot; disabling ends its tokens',
    who: 'admin',
    body: editSchema(accountEditFields),
    answer: accountSchema,
    conflicts: true,
    handle: async ({ control, actor, path: { name }, body }) =>
      showAccount(await editAccount(control, actor, { kind: 'robot', name }, body)),
  }),
  endpoint({
    id: 'deleteRobot',
    method: 'DELETE',
    path: '/robots/:name',
    summary: 'Remove a robot and the grants that name it',
    who: 'admin',
    status: 204,
    conflicts: true,
    handle: ({ control, actor, path: { name } }) =>
      removeAccount(control, actor, { kind: 'robot', name }),
  }),
  endpoint({
    id: 'renewRobotSecret',
    method: 'POST',
    path: '/robots/:name/secret',
    summary: 'Give a robot another secret; the one before, and its tokens, end',
    who: 'admin',
    answer: robotWithSecret,
    handle: async ({ control, actor, path: { name } }) => {
      const { account, secret } = await renewRobotSecret(control, actor, name)
      return { ...showAccount(account), secret }
    },
  }),
]
