import { randomUUID } from 'node:crypto'
import { repositoriesOf } from './repositories.ts'
import type { Server } from './server.ts'

export interface Account {
  readonly name: string
  /** Header with its name and password. */
  readonly basic: string
}

/** A user who may do everything in the repositories of the run, some of which anybody may pull. */
export async function addAccount(server: Server): Promise<Account> {
  const [name, password] = ['steady', randomUUID()]
  const { everything, everybodys } = repositoriesOf
  await post(server, 'users', { name, password })
  await post(server, 'grants', {
    effect: 'allow',
    subject: `user:${name}`,
    repositories: [everything],
    actions: ['pull', 'push', 'overwrite', 'delete'],
  })
  await post(server, 'grants', {
    effect: 'allow',
    subject: 'anonymous',
    repositories: [everybodys],
    actions: ['pull'],
  })
  return { name, basic: basic(name, password) }
}

export function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

async function post({ host, adminPassword }: Server, path: string, body: object): Promise<void> {
  const answer = await fetch(`http://${host}/api/v1/${path}`, {
    method: 'POST',
    headers: {
      Authorization: basic('admin', adminPassword),
      'Content-Type': 'application/json',
      Connection: 'close',
    },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${text}`)
}
