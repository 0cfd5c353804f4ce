import { addGrant } from '../../../auth/accounts/grants.ts'
import type { Action } from '../../../auth/rules/grant.ts'
import { expectStatus, type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { pushImage } from '../../acceptance/images.ts'
import { type Api, addUser, apiOf, itemsOf } from './json.ts'

/** Users by the rights they have to every repository below `team/`. */
const USERS: Readonly<Record<string, readonly Action[]>> = {
  pull: ['pull'],
  push: ['push'],
  overwrite: ['push', 'overwrite'],
  delete: ['delete'],
  ada: ['pull', 'push', 'overwrite', 'delete'],
}

const OPERATOR = { subject: 'test' }

/** A server with users who may do some things, and one, `dev`, who may do them with tags `dev-*`. */
export class UndoStage {
  readonly running: RunningRegistry
  readonly admin: Api
  readonly anonymous: Api
  /** What each user calls. */
  readonly as: Record<string, Api> = {}
  /** What each user shows. */
  readonly authorization: Record<string, string> = {}

  static async open(): Promise<UndoStage> {
    const running = await runRegistry({ access: { mode: 'token' } })
    const root = await addUser(running.registry.access, 'root', { admin: true })
    const stage = new UndoStage(running, root)
    await stage.#addUsers()
    return stage
  }

  private constructor(running: RunningRegistry, root: string) {
    this.running = running
    this.admin = apiOf(running.client, root)
    this.anonymous = apiOf(running.client, undefined)
  }

  async #addUsers(): Promise<void> {
    const { client, registry } = this.running
    const { access } = registry
    for (const [name, actions] of Object.entries({ ...USERS, dev: USERS['ada']! })) {
      this.authorization[name] = await addUser(access, name)
      this.as[name] = apiOf(client, this.authorization[name])
      const tags = name === 'dev' ? { tags: ['dev-*'] } : {}
      const grant = { effect: 'allow', subject: `user:${name}`, repositories: ['team/**'] } as const
      await addGrant(access, OPERATOR, { ...grant, ...tags, actions })
    }
    await addGrant(access, OPERATOR, {
      effect: 'deny',
      subject: 'everyone',
      repositories: ['team/**'],
      tags: ['v*'],
      actions: ['overwrite'],
    })
  }

  /** Pushes an image, whoever may. @returns its digest */
  async push(repository: string, tag: string): Promise<string> {
    const { client, registry } = this.running
    const actions = ['pull', 'push', 'overwrite'] as const
    const grant = { effect: 'allow', subject: 'anonymous', repositories: [repository] } as const
    const { id } = await addGrant(registry.access, OPERATOR, { ...grant, actions })
    const { digest } = await pushImage(client, repository, tag)
    await this.admin('DELETE', `/grants/${id}`)
    return digest
  }

  /** Deletes a tag or a manifest, as ada. */
  async remove(repository: string, reference: string): Promise<void> {
    const path = `/v2/${repository}/manifests/${reference}`
    const headers = { Authorization: this.authorization['ada']! }
    expectStatus(await this.running.client.send('DELETE', path, { headers }), 202)
  }

  async digestOf(repository: string, reference: string): Promise<string | undefined> {
    const path = `/v2/${repository}/manifests/${reference}`
    const headers = { Authorization: this.authorization['ada']! }
    const answer = await this.running.client.head(path, headers)
    return answer.headers['docker-content-digest'] as string | undefined
  }

  /** Who did it, with what, and how it ended. */
  async recorded(repository: string, action: string): Promise<string[]> {
    const query = `/audit?action=${action}&repository=${repository}`
    const events = itemsOf(await this.admin('GET', query))
    return events.map(({ actor, target, result }) => [actor, target, result].join(' '))
  }
}
