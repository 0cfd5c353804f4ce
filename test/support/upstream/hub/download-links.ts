import { randomBytes } from 'node:crypto'
import type { Exchange, MadeAnswer } from '../../proxy/exchange.ts'

/** What the CDN lets others fetch: URLs with a signature, each good for one blob. */
export class DownloadLinks {
  readonly #blobs = new Map<string, string>()

  /** @returns the path at the CDN by which the blob `/v2/<name>/blobs/<digest>` can be had */
  make(blob: string): string {
    const [algorithm = '', hex = ''] = blob.slice(blob.lastIndexOf('/') + 1).split(':')
    const folder = `/registry-v2/docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}`
    const path = `${folder}/${hex}/data?expires=1790000000&signature=${randomBytes(24).toString('hex')}`
    this.#blobs.set(path, blob)
    return path
  }

  expire(): void {
    this.#blobs.clear()
  }

  readonly serve = async (exchange: Exchange): Promise<void> => {
    const { headers, url = '' } = exchange.incoming
    const blob = this.#blobs.get(url)
    if (headers.authorization !== undefined) {
      return exchange.reply(refusal(400, 'InvalidArgument', 'Only one auth mechanism allowed'))
    }
    if (blob === undefined) {
      return exchange.reply(refusal(403, 'AccessDenied', 'Request has expired'))
    }
    await exchange.pass(await exchange.ask({ path: blob }), { headers: OF_A_CDN })
  }
}

/** It knows nothing of digests. */
const OF_A_CDN = {
  'Docker-Content-Digest': undefined,
  'Docker-Distribution-Api-Version': undefined,
  ETag: undefined,
  'CF-Cache-Status': 'HIT',
}

function refusal(status: number, code: string, message: string): MadeAnswer {
  return {
    status,
    headers: { 'Content-Type': 'application/xml' },
    body: `<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  }
}
