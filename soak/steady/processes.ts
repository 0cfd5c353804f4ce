import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { processTree } from '../../bench/measure/process-tree.ts'
import { postmasterPid } from '../../test/durability/support/server.ts'
import type { Workspace } from '../../test/durability/support/workspace.ts'

export interface ServerPids {
  /** Of the process that was started, and all that it starts. */
  readonly root: number
  readonly postmaster: number
  /** That answer requests: the workers, or the only process. */
  readonly serving: readonly number[]
}

/** @throws Error when there are not as many workers as asked for */
export function pidsOf(root: number, workspace: Workspace, workers: number): ServerPids {
  const postmaster = postmasterPid(workspace)
  const others = [...processTree([root])].filter((pid) => pid !== root && isNode(pid))
  const serving = workers === 1 ? [root] : others
  if (serving.length !== workers) throw new Error(`${serving.length} workers, not ${workers}`)
  return { root, postmaster, serving }
}

/** Whether the processes that served at first still do; one that was replaced is as bad. */
export function areAlive({ root, serving }: ServerPids): boolean {
  const tree = processTree([root])
  return serving.every((pid) => tree.has(pid) && isNode(pid))
}

export function descriptorsOf(pids: Iterable<number>): number {
  return [...pids].reduce((sum, pid) => sum + entriesOf(`/proc/${pid}/fd`).length, 0)
}

/** The server's processes, without those of its database. */
export function ownProcesses({ root, postmaster }: ServerPids): number[] {
  const database = processTree([postmaster])
  return [...processTree([root])].filter((pid) => !database.has(pid))
}

/** The database's processes that serve a connection each. */
export function backendsOf({ postmaster }: ServerPids): number[] {
  return [...processTree([postmaster])].filter((pid) => {
    const title = textOf(`/proc/${pid}/cmdline`)
    return title.includes('[local]')
  })
}

/** Where a worker's debugger would listen; undefined for a process that is none. */
export function inspectPortOf(pid: number): number | undefined {
  const port = /--inspect-port=(\d+)/.exec(textOf(`/proc/${pid}/cmdline`))?.[1]
  return port === undefined ? undefined : Number(port)
}

function isNode(pid: number): boolean {
  return textOf(`/proc/${pid}/comm`).trim() === 'node'
}

/**
 * The one of `pids` that holds the other end of a connection to `serverPort` from `clientPort`,
 * both of this machine; undefined when none does.
 */
export function holderOf(
  pids: readonly number[],
  { serverPort, clientPort }: { readonly serverPort: number; readonly clientPort: number },
): number | undefined {
  const ends = `${hex(serverPort)} \\w+:${hex(clientPort)} `
  const line = new RegExp(`^.*: \\w+:${ends}.*$`, 'm').exec(textOf('/proc/net/tcp'))?.[0]
  const inode = line?.trim().split(/\s+/)[9]
  return pids.find((pid) => socketsOf(pid).has(inode ?? ''))
}

/** Connections of `pids` to a port of this machine. */
export function connectionsTo(port: number, pids: readonly number[]): number {
  const lines = textOf('/proc/net/tcp').split('\n')
  const fields = lines.map((line) => line.trim().split(/\s+/))
  const those = fields.filter(([, , remote = '']) => remote.endsWith(`:${hex(port)}`))
  const inodes = new Set(those.map((each) => each[9] ?? ''))
  const held = pids.map((pid) => [...socketsOf(pid)].filter((inode) => inodes.has(inode)).length)
  return held.reduce((sum, count) => sum + count, 0)
}

function socketsOf(pid: number): Set<string> {
  const links = entriesOf(`/proc/${pid}/fd`).map((entry) => linkOf(`/proc/${pid}/fd/${entry}`))
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}

// What belongs to a process is gone when it has ended, which may be at any time.

function entriesOf(folder: string): string[] {
  return orElse([], () => readdirSync(folder))
}

function linkOf(file: string): string {
  return orElse('', () => readlinkSync(file))
}

function textOf(file: string): string {
  return orElse('', () => readFileSync(file, 'utf8'))
}

function orElse<T>(nothing: T, read: () => T): T {
  try {
    return read()
  } catch {
    return nothing
  }
}
