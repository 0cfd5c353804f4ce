/** Takes out of what an upstream says what it was told: some answers repeat the request. */
export function redact(text: string, secrets: readonly string[]): string {
  // Longer ones first, as one may be part of another.
  const found = secrets.filter((secret) => secret !== '').toSorted((a, b) => b.length - a.length)
  return found.reduce((rest, secret) => rest.replaceAll(secret, '***'), text)
}

/** The secrets in the value of an `Authorization` header. */
export function secretsIn(authorization: string | undefined): string[] {
  const [scheme, value] = (authorization ?? '').split(' ')
  if (value === undefined) return []
  if (scheme !== 'Basic') return [value]
  const pair = Buffer.from(value, 'base64').toString('utf8')
  return [value, pair, pair.slice(pair.indexOf(':') + 1)]
}
