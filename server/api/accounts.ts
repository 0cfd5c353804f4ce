import { z } from 'zod'
import type { Account } from '../../auth/accounts/accounts.ts'
import { description, instant, names, showTime, time } from './fields.ts'

/** A user or a robot. */
export const accountSchema = z.strictObject({
  name: z.string(),
  description: z.string(),
  admin: z.boolean(),
  disabled: z.boolean(),
  groups: names,
  createdAt: time,
  createdBy: z.string().nullable(),
  expiresAt: time.nullable(),
  lastUsedAt: time.nullable(),
})

export function showAccount(account: Account): z.output<typeof accountSchema> {
  return {
    name: account.name,
    description: account.description,
    admin: account.admin,
    disabled: account.disabled,
    groups: [...account.groups],
    createdAt: showTime(account.createdAt),
    createdBy: account.createdBy ?? null,
    expiresAt: showTime(account.expiresAt),
    lastUsedAt: showTime(account.lastUsedAt),
  }
}

/** What a new user and a new robot have in common. */
export const newAccountFields = {
  name: z.string(),
  description: description.optional(),
  admin: z.boolean().optional(),
  expiresAt: instant.nullish().meta({ description: 'Left out or null: never.' }),
}

/** What may be changed of both. */
export const accountEditFields = {
  description: description.optional(),
  admin: z.boolean().optional(),
  disabled: z.boolean().optional(),
  expiresAt: instant.nullish().meta({ description: 'null: never.' }),
}

/** Fields that may all be left out, but not all at once. */
export function editSchema<Fields extends z.ZodRawShape>(fields: Fields) {
  return z
    .strictObject(fields)
    .refine((edit) => Object.keys(edit).length > 0, 'nothing is to be changed')
    .meta({ minProperties: 1 })
}
