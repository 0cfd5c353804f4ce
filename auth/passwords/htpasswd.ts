import { createHash, createHmac, randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { WatchedFile } from '../watched-file.ts'
import { bcryptCostOf, type PasswordVerifier } from './passwords.ts'

const WARNED_LINES = 20
/** Of what is computed for an unknown name while the file has no entry. */
const EMPTY_FILE_COST = 10

export interface HtpasswdOptions {
  readonly verifier: PasswordVerifier
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Called after other entries have come into force. It must not throw. */
  readonly onChange: () => void
  /** How often to look whether the file has changed; every two seconds unless said otherwise. */
  readonly pollMs?: number
}

/** The users of an htpasswd file, as it is now. */
export interface Htpasswd {
  /**
   * Whether the password is the one of the name. An unknown name costs as much as a wrong password.
   *
   * @throws RegistryError TOOMANYREQUESTS, as {@link PasswordVerifier.verify} does
   */
  verify(name: string, password: string): Promise<boolean>
  /** Sixteen hex digits that change with the entry, the same on every server. */
  revisionOf(name: string): string | undefined
  /** In the order of the file. */
  readonly names: readonly string[]
  /** Stops looking for changes. */
  close(): void
}

/**
 * Reads the bcrypt entries of an Apache htpasswd file of at most 10 MB, and reads it again when it
 * changes. When that fails, the entries it had stay in force.
 *
 * A line that is no entry is skipped with a warning, and so is one whose hash is not bcrypt or
 * costs too much, and one that repeats a name. Empty lines and those that begin with # are not.
 *
 * @throws Error when the file cannot be read
 */
export async function openHtpasswd(
  path: string,
  { verifier, ...options }: HtpasswdOptions,
): Promise<Htpasswd> {
  const parse = (bytes: Buffer) => parseFile(path, bytes, options.log)
  const file = await WatchedFile.open({ ...options, path, name: 'htpasswd file', parse })
  return new HtpasswdFile(file, verifier)
}

class HtpasswdFile implements Htpasswd {
  readonly #file: WatchedFile<Entries>
  readonly #verifier: PasswordVerifier
  /** Of this process: nobody else can tell which names would get which hash. */
  readonly #key = randomBytes(32)

  constructor(file: WatchedFile<Entries>, verifier: PasswordVerifier) {
    this.#file = file
    this.#verifier = verifier
  }

  get names(): readonly string[] {
    return [...this.#file.content.keys()]
  }

  revisionOf(name: string): string | undefined {
    const entry = this.#file.content.get(name)
    if (entry === undefined) return undefined
    return createHash('sha256').update(`${name}:${entry.hash}`).digest('hex').slice(0, 16)
  }

  async verify(name: string, password: string): Promise<boolean> {
    const entry = this.#file.content.get(name)
    const matches = await this.#verifier.verify(password, entry?.hash ?? this.#decoy(name))
    return entry !== undefined && matches
  }

  close(): void {
    this.#file.close()
  }

  /**
   * A hash that no password is known for, always the same for one name, as that of an entry would
   * be. Its cost is that of an entry: where those differ, so do those of unknown names.
   */
  #decoy(name: string): string {
    const bytes = createHmac('sha512', this.#key).update(name).digest()
    const costs = Array.from(this.#file.content.values(), (entry) => entry.cost)
    const cost = costs[bytes.readUInt32BE(60) % costs.length] ?? EMPTY_FILE_COST
    // The last character of salt and digest has bits that belong to nothing and must be zero.
    const text = Array.from(bytes, (byte) => BCRYPT_ALPHABET[byte % 64]).join('')
    const [salt, digest] = [text.slice(0, 21), text.slice(21, 51)]
    return `$2b$${String(cost).padStart(2, '0')}$${salt}.${digest}.`
  }
}

/** By name, in the order of the file. */
type Entries = ReadonlyMap<string, Entry>

interface Entry {
  readonly hash: string
  readonly cost: number
}

interface SkippedLine {
  readonly line: number
  readonly reason: 'malformed' | 'not bcrypt, or costs too much' | 'repeats a name'
}

const BCRYPT_ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** The first entry of a name counts, as it does for Apache. */
function parseFile(file: string, content: Buffer, log: HtpasswdOptions['log']): Entries {
  const entries = new Map<string, Entry>()
  const skipped: SkippedLine[] = []
  const lines = new TextDecoder().decode(content).split('\n')
  for (const [index, raw] of lines.entries()) {
    const text = raw.trimEnd()
    if (text === '' || text.startsWith('#')) continue
    const entry = parseEntry(text)
    if (typeof entry === 'string') skipped.push({ line: index + 1, reason: entry })
    else if (entries.has(entry.name)) skipped.push({ line: index + 1, reason: 'repeats a name' })
    else entries.set(entry.name, { hash: entry.hash, cost: entry.cost })
  }
  if (skipped.length > 0) {
    const counts = { skipped: skipped.length, lines: skipped.slice(0, WARNED_LINES) }
    log.warn({ file, ...counts }, 'lines of the htpasswd file skipped')
  }
  return entries
}

function parseEntry(text: string): (Entry & { readonly name: string }) | SkippedLine['reason'] {
  const colon = text.indexOf(':')
  const name = text.slice(0, colon)
  // U+FFFD is in place of what is not UTF-8: different names would become one.
  if (colon <= 0 || /[\p{Cc}\uFFFD]/u.test(name)) return 'malformed'
  const hash = text.slice(colon + 1)
  const cost = bcryptCostOf(hash)
  return cost === undefined ? 'not bcrypt, or costs too much' : { name, hash, cost }
}
