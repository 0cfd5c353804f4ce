/** Logs in as `docker login` does. @returns the status, and the token when it was 200 */
export async function logIn(
  host: string,
  name: string,
  password: string,
): Promise<{ readonly status: number; readonly token: string }> {
  const authorization = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
  const response = await fetch(`http://${host}/token?service=slipway`, {
    headers: { authorization },
  })
  const { token = '' } = (await response.json()) as { token?: string }
  return { status: response.status, token }
}

/** How `GET /v2/` answers whoever shows the token. */
export async function statusWith(host: string, token: string): Promise<number> {
  const response = await fetch(`http://${host}/v2/`, {
    headers: { authorization: `Bearer ${token}` },
  })
  await response.arrayBuffer()
  return response.status
}
