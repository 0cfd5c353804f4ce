import { z } from 'zod'
import type { AccessControl } from '../../auth/access-control.ts'
import {
  addPersonalToken,
  type Credential,
  getPersonalTokens,
  removePersonalToken,
} from '../../auth/accounts/personal-tokens.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { coverageFields, showCoverage, shownCoverageFields, showTime, time } from './fields.ts'
import { ownUser } from './own-user.ts'

const shownCoverage = z.array(z.strictObject(shownCoverageFields)).nullable()

export const tokenSchema = z.strictObject({
  id: z.uuid(),
  kind: z.enum(['personal', 'login']).meta({
    description: '`login`: what a client keeps of `docker login` in place of the password.',
  }),
  name: z.string(),
  coverage: shownCoverage.meta({ description: 'The most it may do; null: as much as the user.' }),
  createdAt: time,
  expiresAt: time.nullable(),
  lastUsedAt: time.nullable(),
})

const tokenList = z.strictObject({ items: z.array(tokenSchema) })

/** A token at the only time its secret is known. */
const tokenWithSecret = tokenSchema.extend({ secret: z.string() })

const LONGEST_SECONDS = 100 * 365 * 86_400

const newToken = z.strictObject({
  name: z.string(),
  coverage: z
    .array(
      z
        .strictObject(coverageFields)
        .transform(({ tags, ...coverage }) => ({ ...coverage, ...(tags ? { tags } : {}) })),
    )
    .min(1)
    .max(100)
    .nullish()
    .meta({ description: 'The most it may do. Left out or null: as much as the user.' }),
  expiresInSeconds: z
    .int()
    .min(1)
    .max(LONGEST_SECONDS)
    .nullish()
    .meta({ description: 'Left out or null: it stays good.' }),
})

const storedCoverage = z.array(
  z.object({ ...shownCoverageFields, tags: z.array(z.string()).nullish() }),
)

function showToken(credential: Credential): z.output<typeof tokenSchema> {
  const { coverage } = credential
  return {
    id: credential.id,
    kind: credential.kind === 'personal' ? 'personal' : 'login',
    name: credential.name,
    coverage:
      coverage === undefined
        ? null
        : storedCoverage
            .parse(coverage)
            .map(({ tags, ...each }) => showCoverage({ ...each, tags: tags ?? undefined })),
    createdAt: showTime(credential.createdAt),
    expiresAt: showTime(credential.expiresAt),
    lastUsedAt: showTime(credential.lastUsedAt),
  }
}

async function listTokens(control: AccessControl, account: string) {
  const { tokens, logins } = await getPersonalTokens(control, account)
  return { items: [...tokens, ...logins].map(showToken) }
}

async function createToken(
  control: AccessControl,
  actor: Parameters<typeof addPersonalToken>[1],
  { account, token }: { readonly account: string; readonly token: z.output<typeof newToken> },
) {
  const { credential, secret } = await addPersonalToken(control, actor, {
    account,
    name: token.name,
    coverage: token.coverage ?? undefined,
    seconds: token.expiresInSeconds ?? undefined,
  })
  return { ...showToken(credential), secret }
}

export const TOKENS: readonly Endpoint[] = [
  endpoint({
    id: 'listMyTokens',
    method: 'GET',
    path: '/me/tokens',
    summary: 'List one’s own personal tokens and logins, the oldest first; all of them at once',
    who: 'account',
    answer: tokenList,
    handle: async (call) => listTokens(call.control, await ownUser(call, 'looks')),
  }),
  endpoint({
    id: 'createMyToken',
    method: 'POST',
    path: '/me/tokens',
    summary: 'Make a personal token; the answer is the only place where its secret is shown',
    who: 'account',
    body: newToken,
    status: 201,
    answer: tokenWithSecret,
    conflicts: true,
    handle: async (call) => {
      const account = await ownUser(call, 'changes')
      return createToken(call.control, call.actor, { account, token: call.body })
    },
  }),
  endpoint({
    id: 'deleteMyToken',
    method: 'DELETE',
    path: '/me/tokens/:id',
    summary: 'Revoke a token or a login of one’s own, with all that was obtained with it',
    who: 'account',
    status: 204,
    handle: async (call) => {
      const account = await ownUser(call, 'changes')
      await removePersonalToken(call.control, call.actor, { account, id: call.path.id })
    },
  }),
  endpoint({
    id: 'listUserTokens',
    method: 'GET',
    path: '/users/:name/tokens',
    summary: 'List the personal tokens and logins of a user, the oldest first; all of them at once',
    who: 'admin',
    answer: tokenList,
    handle: ({ control, path: { name } }) => listTokens(control, name),
  }),
  endpoint({
    id: 'createUserToken',
    method: 'POST',
    path: '/users/:name/tokens',
    summary: 'Make a personal token for a user; the answer is the only place to see its secret',
    who: 'admin',
    body: newToken,
    status: 201,
    answer: tokenWithSecret,
    conflicts: true,
    handle: ({ control, actor, path: { name: account }, body: token }) =>
      createToken(control, actor, { account, token }),
  }),
  endpoint({
    id: 'deleteUserToken',
    method: 'DELETE',
    path: '/users/:name/tokens/:id',
    summary: 'Revoke a token or a login of a user, with all that was obtained with it',
    who: 'admin',
    status: 204,
    handle: ({ control, actor, path: { name: account, id } }) =>
      removePersonalToken(control, actor, { account, id }),
  }),
]
