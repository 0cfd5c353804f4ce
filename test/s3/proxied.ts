import type { S3Settings } from '../../storage/blob/s3.ts'
import { type Client, type RunningRegistry, runRegistry } from '../acceptance/client.ts'
import type { TestRegistryOptions } from '../support/registry.ts'
import { s3Backend } from '../support/s3.ts'
import { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts'
import { storageOf } from '../support/storage.ts'

export interface Proxied {
  readonly proxy: S3Proxy
  readonly s3: OpenedS3Store
  readonly running: RunningRegistry
  readonly client: Client
}

/** The whole server over the bucket of the tests, which it reaches through a proxy. */
export async function runOverProxy(
  settings: Partial<S3Settings> = {},
  options: TestRegistryOptions = {},
): Promise<Proxied & { close(this: void): Promise<void> }> {
  const proxy = await S3Proxy.start(s3Backend()?.endpoint ?? '')
  const s3 = openS3Store({ endpoint: proxy.endpoint, ...settings })
  const running = await runRegistry({ ...options, storage: storageOf(s3) })
  return {
    proxy,
    s3,
    running,
    client: running.client,
    close: async () => {
      await running.close()
      await proxy.stop()
    },
  }
}
