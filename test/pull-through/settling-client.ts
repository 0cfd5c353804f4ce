import { setTimeout as sleep } from 'node:timers/promises'
import type { Registry } from '../../registry/registry.ts'
import { type Answer, Client, type RunningRegistry, type Sent } from '../acceptance/client.ts'

/** One that begins the next request when what the last one brought is kept: clients need not wait so long. */
export class SettlingClient extends Client {
  readonly #registry: Registry

  constructor({ registry }: Pick<RunningRegistry, 'registry'>) {
    super(registry.host)
    this.#registry = registry.registry
  }

  override async send(method: string, path: string, sent?: Sent): Promise<Answer> {
    const answer = await super.send(method, path, sent)
    while (this.#registry.pullThrough.fetches.size > 0) await sleep(5)
    return answer
  }
}
