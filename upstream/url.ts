/**
 * A URL that somebody else wrote, without user info and fragment.
 *
 * @returns undefined unless it is one of http or https
 */
export function parseForeignUrl(text: string, base?: URL): URL | undefined {
  if (!URL.canParse(text, base?.href)) return undefined
  const url = new URL(text, base?.href)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined
  url.username = ''
  url.password = ''
  url.hash = ''
  return url
}

/** Whether what is sent to `to` is less protected than what came from `from`. */
export function isDowngrade(from: URL, to: URL): boolean {
  return from.protocol === 'https:' && to.protocol !== 'https:'
}
