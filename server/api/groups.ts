import { z } from 'zod'
import {
  addGroup,
  addMember,
  editGroup,
  type Group,
  getGroup,
  getGroups,
  removeGroup,
  removeMember,
} from '../../auth/accounts/groups.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { description, names, showTime, time } from './fields.ts'
import { pageFields, pageSchema, showPage } from './page.ts'

export const groupSchema = z.strictObject({
  name: z.string(),
  description: z.string(),
  members: names.meta({ description: 'Names of accounts.' }),
  createdAt: time,
  createdBy: z.string().nullable(),
})

function showGroup(group: Group): z.output<typeof groupSchema> {
  return {
    name: group.name,
    description: group.description,
    members: [...group.members],
    createdAt: showTime(group.createdAt),
    createdBy: group.createdBy ?? null,
  }
}

export const GROUPS: readonly Endpoint[] = [
  endpoint({
    id: 'listGroups',
    method: 'GET',
    path: '/groups',
    summary: 'List groups by name; those of the access file are not among them',
    who: 'admin',
    query: z.strictObject(pageFields),
    answer: pageSchema(groupSchema),
    handle: ({ control, ctx, query }) =>
      showPage(ctx, query, {
        list: (page) => getGroups(control, page),
        show: showGroup,
        cursor: ({ name }) => name,
      }),
  }),
  endpoint({
    id: 'createGroup',
    method: 'POST',
    path: '/groups',
    summary: 'Add a group',
    who: 'admin',
    body: z.strictObject({ name: z.string(), description: description.optional() }),
    status: 201,
    answer: groupSchema,
    conflicts: true,
    handle: async ({ control, actor, body }) => showGroup(await addGroup(control, actor, body)),
  }),
  endpoint({
    id: 'getGroup',
    method: 'GET',
    path: '/groups/:name',
    summary: 'Show a group',
    who: 'admin',
    answer: groupSchema,
    handle: async ({ control, path: { name } }) => showGroup(await getGroup(control, name)),
  }),
  endpoint({
    id: 'changeGroup',
    method: 'PATCH',
    path: '/groups/:name',
    summary: 'Change the description of a group',
    who: 'admin',
    body: z.strictObject({ description }),
    answer: groupSchema,
    handle: async ({ control, actor, path: { name }, body }) =>
      showGroup(await editGroup(control, actor, { name, ...body })),
  }),
  endpoint({
    id: 'deleteGroup',
    method: 'DELETE',
    path: '/groups/:name',
    summary: 'Remove a group and the grants that name it; its members stay',
    who: 'admin',
    status: 204,
    handle: ({ control, actor, path: { name } }) => removeGroup(control, actor, name),
  }),
  endpoint({
    id: 'addMember',
    method: 'PUT',
    path: '/groups/:name/members/:account',
    summary: 'Put a user or a robot into a group',
    who: 'admin',
    status: 204,
    handle: ({ control, actor, path: { name: group, account } }) =>
      addMember(control, actor, { group, account }),
  }),
  endpoint({
    id: 'deleteMember',
    method: 'DELETE',
    path: '/groups/:name/members/:account',
    summary: 'Take a user or a robot out of a group',
    who: 'admin',
    status: 204,
    handle: ({ control, actor, path: { name: group, account } }) =>
      removeMember(control, actor, { group, account }),
  }),
]
