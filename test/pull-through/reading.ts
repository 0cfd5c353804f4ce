import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'

/** Resolves when the headers are here; nothing is read of the body before it is asked for. */
export async function beginPull(
  url: string,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  const asked = get(url, { headers, agent: false })
  asked.on('error', () => {})
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  answer.on('error', () => {})
  return answer
}

export async function take(answer: IncomingMessage, bytes: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  let length = 0
  while (length < bytes) {
    const piece: Buffer | null = answer.read()
    if (piece === null) await once(answer, 'readable')
    else {
      pieces.push(piece)
      length += piece.length
    }
  }
  return Buffer.concat(pieces)
}

export async function rest(answer: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of answer) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}
