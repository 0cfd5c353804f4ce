import { readFileSync } from 'node:fs'

/** What kinds of sockets there are on this machine right now, by their inodes. */
export class Sockets {
  readonly #local = inodes('/proc/net/unix', 6)
  readonly #tcp = new Set([...inodes('/proc/net/tcp', 9), ...inodes('/proc/net/tcp6', 9)])

  kindOf(inode: string): 'database' | 'client' | 'other socket' {
    if (this.#local.has(inode)) return 'database'
    return this.#tcp.has(inode) ? 'client' : 'other socket'
  }
}

function inodes(file: string, column: number): Set<string> {
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(1)
  return new Set(lines.map((line) => line.trim().split(/\s+/)[column] ?? ''))
}
