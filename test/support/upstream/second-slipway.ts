import { addUser, basic, PASSWORD, runGuarded } from '../../acceptance/accounts.ts'
import type { TestRegistryOptions } from '../registry.ts'
import { type ImageOptions, type PushedImage, pushRandomImage } from './images.ts'

/** Another Slipway that asks for tokens. */
export interface UpstreamRegistry {
  readonly url: string
  /** Of a user who may pull everything; nobody may without. */
  readonly credentials: { readonly username: string; readonly password: string }
  /** Lets another repository have a blob as well. */
  copy(this: void, from: string, to: string, digest: string): Promise<void>
  /** As an administrator. */
  push(this: void, image: ImageOptions): Promise<PushedImage>
  close(this: void): Promise<void>
}

export async function openUpstreamRegistry(
  options: TestRegistryOptions = {},
): Promise<UpstreamRegistry> {
  const { access, ...others } = options
  const running = await runGuarded(access, others)
  const username = 'puller'
  await addUser(running.access, username, { '**': ['pull'] })
  const url = `http://${running.registry.host}`
  return {
    url,
    credentials: { username, password: PASSWORD },
    copy: async (from, to, digest) => {
      const query = new URLSearchParams({ from, mount: digest }).toString()
      const mounted = await fetch(`${url}/v2/${to}/blobs/uploads/?${query}`, {
        method: 'POST',
        headers: { authorization: basic('root') },
      })
      if (mounted.status !== 201) throw new Error(`not mounted: ${mounted.status}`)
    },
    push: (image) => pushRandomImage({ url, authorization: basic('root') }, image),
    close: running.close,
  }
}
