import type { S3Client } from '@aws-sdk/client-s3'

/**
 * The time as the object storage has it, learned from its answers: what this machine signs for
 * others must be good there, whatever the clock here says.
 */
export class ServerClock {
  #aheadMs = 0

  /** Milliseconds since the epoch. */
  now(): number {
    return Date.now() + this.#aheadMs
  }

  /** How far the server's clock is ahead of that of this machine, in whole seconds. */
  get aheadSeconds(): number {
    return Math.round(this.#aheadMs / 1000)
  }

  /** Learns from every answer that `client` gets. */
  watch(client: S3Client): void {
    client.middlewareStack.add(
      (next) => async (call) => {
        const result = await next(call)
        const date = Date.parse(dateOf(result.response))
        if (!Number.isNaN(date)) this.#aheadMs = date - Date.now()
        return result
      },
      { step: 'deserialize', name: 'serverClock' },
    )
  }
}

function dateOf(response: unknown): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the SDK's type says unknown
  const { headers } = response as { readonly headers?: Readonly<Record<string, string>> }
  return headers?.['date'] ?? ''
}
