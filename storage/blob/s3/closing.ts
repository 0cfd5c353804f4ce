import type { S3Client } from '@aws-sdk/client-s3'

/** The program ends: nothing is asked of the storage any more. */
class StoreClosed extends Error {
  override readonly name = 'StoreClosed'

  constructor() {
    super('the store is closed')
  }
}

/**
 * @returns ends the requests of `client` under way, and refuses further ones; destroying alone
 *   would make it try each once more
 */
export function closerOf(client: S3Client): () => void {
  let closed = false
  client.middlewareStack.add(
    (next) => (call) => {
      if (closed) throw new StoreClosed()
      return next(call)
    },
    // After the one that tries again.
    { step: 'finalizeRequest', priority: 'low', name: 'closing' },
  )
  return () => {
    closed = true
    client.destroy()
  }
}
