import type { Sockets } from './sockets.ts'

/** By `<name> <what it was done to>`, as in `write client`. */
export interface Calls {
  readonly counts: ReadonlyMap<string, Count>
  /** Times that something was sent to the database after something had come from it. */
  readonly roundTrips: number
}

export interface Count {
  readonly calls: number
  /** What calls returned that were given a buffer: bytes read and written. */
  readonly bytes: number
}

const BEGUN = /^(\d+)\s+(\w+)\((?:(\d+)<([^>]*)>)?/
const RESUMED = /^(\d+)\s+<\.\.\. \w+ resumed>/
const RESULT = /\)\s+= (-?\d+)/
const MOVES_BYTES =
  /^(?:p?(?:read|write)v?(?:64|2)?|sendto|sendmsg|recvfrom|recvmsg|sendfile|splice|copy_file_range)$/
/** Named by a path, where others take what is open. */
const NAMES_FILE = /^(?:openat|mkdir|rename|unlink|rmdir|statx?|newfstatat|readlink|access)/
const SENDS = /^(?:writev?|sendto|sendmsg)$/

/** @param lines that strace wrote with -f and -y */
export function countCalls(lines: readonly string[], sockets: Sockets): Calls {
  const counter = new CallCounter(sockets)
  for (const line of lines) counter.add(line)
  return counter
}

class CallCounter implements Calls {
  readonly counts = new Map<string, { calls: number; bytes: number }>()
  roundTrips = 0
  readonly #sockets: Sockets
  /** What each thread does, whose lines may be torn by those of others. */
  readonly #underWay = new Map<string, string>()
  /** Connections to the database on which something was sent last. */
  readonly #waiting = new Set<string>()

  constructor(sockets: Sockets) {
    this.#sockets = sockets
  }

  add(line: string): void {
    const begun = BEGUN.exec(line)
    const thread = (begun ?? RESUMED.exec(line))?.[1]
    if (thread === undefined) return
    if (begun !== null) this.#begin(thread, begun[2] ?? '', begun[4])
    const key = this.#underWay.get(thread) ?? ''
    const count = this.counts.get(key)
    const result = Number(RESULT.exec(line)?.[1] ?? 0)
    if (count && result > 0 && MOVES_BYTES.test(key.split(' ')[0] ?? '')) count.bytes += result
  }

  #begin(thread: string, name: string, target: string | undefined): void {
    const kind = NAMES_FILE.test(name) ? 'file' : kindOf(target, this.#sockets)
    const key = `${name} ${kind}`.trim()
    const count = this.counts.get(key) ?? { calls: 0, bytes: 0 }
    this.counts.set(key, count)
    count.calls++
    this.#underWay.set(thread, key)
    if (kind === 'database' && target !== undefined) this.#converse(target, SENDS.test(name))
  }

  #converse(socket: string, isSent: boolean): void {
    if (!isSent) this.#waiting.delete(socket)
    else if (!this.#waiting.has(socket)) {
      this.#waiting.add(socket)
      this.roundTrips++
    }
  }
}

function kindOf(target: string | undefined, sockets: Sockets): string {
  if (target === undefined) return ''
  const socket = /^socket:\[(\d+)\]$/.exec(target)?.[1]
  if (socket !== undefined) return sockets.kindOf(socket)
  if (target.startsWith('anon_inode:[eventfd]')) return 'wake-up'
  if (target.startsWith('anon_inode:') || target.startsWith('pipe:')) return ''
  if (target.endsWith('/server.log')) return 'log'
  return 'file'
}
