import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'

export interface Pulled {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** As much as came. */
  readonly body: Buffer
  /** Whether the answer came to its proper end. */
  readonly isWhole: boolean
}

/**
 * One request without a body on a connection of its own; follows no redirect.
 *
 * @throws Error when no answer begins
 */
export async function pull(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  method: 'GET' | 'HEAD' = 'GET',
): Promise<Pulled> {
  const asked = request(url, { method, headers, agent: false }).end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  const pieces: Buffer[] = []
  const received = async () => {
    for await (const piece of answer) pieces.push(piece as Buffer)
  }
  const isWhole = await received().then(
    () => true,
    () => false,
  )
  const { statusCode: status = 0 } = answer
  return { status, headers: answer.headers, body: Buffer.concat(pieces), isWhole }
}
