import { execFile } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'

/**
 * Names one process for good: a pid alone is reused. `bootId` and `pidNamespace` tell whether a pid read from
 * a file means anything to us; they are undefined where the system does not say.
 */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTime: string | undefined
  readonly bootId: string | undefined
  readonly pidNamespace: string | undefined
  readonly hostname: string
}

export async function identifyThisProcess(): Promise<ProcessIdentity> {
  const [startTime, bootId, pidNamespace] = await Promise.all([
    startTimeOf(process.pid),
    readBootId(),
    readPidNamespace(),
  ])
  return { pid: process.pid, startTime, bootId, pidNamespace, hostname: hostname() }
}

/** False for a pid that nobody has; true for one of another user, and for a zombie. */
export function pidExists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** When a process began, as a text to compare; undefined when there is none, it is a zombie, or it is hidden. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return askPs(pid, 'lstart=')
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The second field is the program's name in parentheses and may hold anything; the rest is plain.
  const [state, ...fields] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  // Field 22 of proc(5), in ticks since boot; state is field 3.
  return state === 'Z' || state === 'X' ? undefined : fields[18]
}

/** The arguments of a process on Linux, one text elsewhere; empty when there is none or it is a zombie. */
export async function commandLineOf(pid: number): Promise<readonly string[]> {
  if (process.platform !== 'linux') {
    const command = await askPs(pid, 'command=')
    return command === undefined ? [] : [command]
  }
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return text === '' ? [] : text.replace(/\0$/, '').split('\0')
}

async function readBootId(): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
    return text.trim() || undefined
  }
  return ask('sysctl', ['-n', 'kern.bootsessionuuid'])
}

async function readPidNamespace(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'the only one'
  return readlink('/proc/self/ns/pid').catch(() => undefined)
}

function askPs(pid: number, field: string): Promise<string | undefined> {
  return ask('ps', ['-ww', '-o', field, '-p', String(pid)])
}

async function ask(file: string, args: readonly string[]): Promise<string | undefined> {
  const answer = await promisify(execFile)(file, args).catch(() => undefined)
  return answer?.stdout.trim() || undefined
}
