import { readFileSync } from 'node:fs'

/** The version in package.json, which lies one folder up from the sources and two from dist/. */
export function programVersion(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      const text = readFileSync(new URL(up, import.meta.url), 'utf8')
      return String((JSON.parse(text) as { version: unknown }).version)
    } catch {
      // not there: the next
    }
  }
  return 'unknown'
}
