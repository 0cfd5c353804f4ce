import { readFileSync } from 'node:fs'

/** The version in package.json, which lies one folder up from the sources and two from dist/. */
export function programVersion(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      const manifest: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'))
      if (typeof manifest === 'object' && manifest && 'version' in manifest) {
        return String(manifest.version)
      }
    } catch {
      // not there: the next
    }
  }
  return 'unknown'
}
