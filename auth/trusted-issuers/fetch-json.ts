const MOST_BYTES = 2 ** 20

/**
 * Redirects are not followed: where the answer comes from is what makes it believable.
 *
 * @throws when there is no answer in time, it is not 200, larger than 1 MiB, or no JSON
 */
export async function fetchJson(url: URL, timeoutMs: number): Promise<unknown> {
  const response = await fetch(url, {
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
    headers: { accept: 'application/json' },
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`${url.href} answered ${response.status}`)
  }
  return JSON.parse(await readBody(response))
}

async function readBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    // Leaving the loop closes the connection. It is the size after decompression that counts.
    if (size > MOST_BYTES) throw new Error(`${response.url} answered more than ${MOST_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
