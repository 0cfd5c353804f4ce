import { expect } from 'vitest'
import type { AccessControl } from '../../../auth/access-control.ts'
import { addUser as addUserAccount } from '../../../auth/accounts/accounts.ts'
import type { Client } from '../../acceptance/client.ts'

export const PASSWORD = 'correct horse battery'

export function basic(name: string, password: string = PASSWORD): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

export interface JsonAnswer {
  readonly status: number
  readonly headers: Awaited<ReturnType<Client['get']>>['headers']
  // Whatever came: tests say what they expect of it.
  readonly body: Record<string, unknown>
}

export type Api = (method: string, path: string, body?: unknown) => Promise<JsonAnswer>

/** Calls of the API with these credentials; undefined: with none. */
export function apiOf(client: Client, authorization: string | undefined): Api {
  return async (method, path, body) => {
    const answer = await client.send(method, `/api/v1${path}`, {
      headers: {
        ...(authorization === undefined ? {} : { Authorization: authorization }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = answer.body.toString()
    const parsed = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
    return { status: answer.status, headers: answer.headers, body: parsed }
  }
}

export function codeOf({ body }: JsonAnswer): string | undefined {
  return (body['errors'] as { code: string }[] | undefined)?.[0]?.code
}

export function detailOf({ body }: JsonAnswer): string {
  const errors = (body['errors'] ?? []) as { detail?: string }[]
  return errors.map(({ detail = '' }) => detail).join('\n')
}

export function itemsOf<Item = Record<string, unknown>>({ status, body }: JsonAnswer): Item[] {
  expect(status).toBe(200)
  return body['items'] as Item[]
}

/** Every page, by the link in the header, until there is none. */
export async function follow(api: Api, path: string): Promise<Record<string, unknown>[][]> {
  const pages: Record<string, unknown>[][] = []
  let next: string | undefined = path
  while (next !== undefined) {
    const answer = await api('GET', next)
    pages.push(itemsOf(answer))
    const link = String(answer.headers['link'] ?? '')
    next = /^<\/api\/v1([^>]*)>; rel="next"$/.exec(link)?.[1]
    expect(answer.body['next'] !== undefined).toBe(next !== undefined)
  }
  return pages
}

export async function addUser(
  control: AccessControl,
  name: string,
  { admin = false } = {},
): Promise<string> {
  await addUserAccount(control, { subject: 'test' }, { name, password: PASSWORD, admin })
  return basic(name)
}
