import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Setting } from './setting.ts'
import {
  type CompleteUpstream,
  checkUpstream,
  completeUpstream,
  InvalidUpstream,
  type OptionalField,
} from './upstream-schema.ts'

/** How an upstream is reached, and what holds for what is kept of it: ready for use. */
export interface UpstreamDefinition
  extends Omit<CompleteUpstream, OptionalField | 'credentialSeconds'> {
  readonly credentials: Credentials | undefined
  /** Certificates in PEM. */
  readonly ca: string | undefined
  /** What may be shown of it: its fields as they would be written, without secrets. */
  readonly shown: Readonly<Record<string, unknown>>
}

type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'command'; readonly command: readonly string[]; readonly seconds: number }

/**
 * A definition, of the configuration or stored, with passwords and certificates read.
 *
 * @param value fields by their keys; undefined, and null as in YAML, for none
 * @throws InvalidUpstream
 */
export function parseUpstream(
  name: string,
  value: unknown,
  environment: NodeJS.ProcessEnv = process.env,
): UpstreamDefinition {
  return resolveUpstream(completeUpstream(name, checkUpstream(name, value)), environment)
}

/** Reads what it names. @throws InvalidUpstream */
export function resolveUpstream(
  upstream: CompleteUpstream,
  environment: NodeJS.ProcessEnv,
): UpstreamDefinition {
  const {
    username: _username,
    password: _password,
    passwordFile: _passwordFile,
    passwordVariable: _passwordVariable,
    credentialCommand: _command,
    credentialSeconds: _seconds,
    ca: file,
    ...rest
  } = upstream
  const problems: string[] = []
  const attempt = <Value>(read: () => Value): Value | undefined => {
    try {
      return read()
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }
  const credentials = attempt(() => credentialsOf(upstream, environment))
  const ca = attempt(() => (file === undefined ? undefined : readCertificates(file)))
  if (problems.length > 0) throw new InvalidUpstream(upstream.name, problems)
  return { ...rest, credentials, ca, shown: showUpstream(upstream) }
}

function credentialsOf(
  upstream: CompleteUpstream,
  environment: NodeJS.ProcessEnv,
): Credentials | undefined {
  const { username, credentialCommand: command, credentialSeconds: seconds } = upstream
  if (command !== undefined) return { kind: 'command', command, seconds }
  if (username === undefined) return undefined
  return { kind: 'password', username, password: passwordOf(upstream, environment) }
}

function passwordOf(upstream: CompleteUpstream, environment: NodeJS.ProcessEnv): string {
  const { password, passwordFile: file, passwordVariable: variable } = upstream
  if (password !== undefined) return password
  if (file !== undefined) {
    const text = readText('passwordFile', file).replace(/\r?\n$/, '')
    if (text === '') throw new Error(`passwordFile: ${file} is empty`)
    return text
  }
  const value = environment[variable ?? '']
  if (value) return value
  throw new Error(`passwordVariable: ${variable} is not set`)
}

function readCertificates(file: string): string {
  const text = readText('ca', file)
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  try {
    for (const pem of certificates ?? []) void new X509Certificate(pem)
  } catch (error) {
    throw new Error(`ca: ${file} has a certificate that cannot be read`, { cause: error })
  }
  if (certificates !== null) return certificates.join('\n')
  throw new Error(`ca: ${file} has no certificate in PEM`)
}

function readText(field: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${field}: ${reason}`, { cause: error })
  }
}

const HIDDEN = '(hidden)'

/** Its fields without secrets, of which arguments of a program may have some. */
export function showUpstream(upstream: CompleteUpstream): Readonly<Record<string, unknown>> {
  const { name: _name, password, credentialCommand: command, credentialSeconds, ...rest } = upstream
  const [program, ...words] = command ?? []
  return {
    ...rest,
    ...(password !== undefined && { password: HIDDEN }),
    ...(command !== undefined && {
      credentialCommand: [program, ...(words.length > 0 ? [HIDDEN] : [])],
      credentialSeconds,
    }),
  }
}

/** What names and hosts an upstream takes. */
export type UpstreamPlace = Pick<UpstreamDefinition, 'name' | 'hosts' | 'prefix' | 'plain'>

/** Why an upstream cannot stand beside others, as `field: reason`; empty when it can. */
export function conflictsOf(upstream: UpstreamPlace, others: readonly UpstreamPlace[]): string[] {
  return others.flatMap((other) => conflictsBetween(upstream, other))
}

function conflictsBetween(mine: UpstreamPlace, theirs: UpstreamPlace): string[] {
  if (mine.name === theirs.name) return [`name: there is another ${mine.name}`]
  const problems = mine.hosts
    .filter((host) => theirs.hosts.includes(host))
    .map((host) => `hosts: ${host} is one of ${theirs.name}`)
  const paths = new Set([theirs.name, theirs.prefix])
  for (const path of new Set([mine.name, mine.prefix])) {
    const other = [...paths].find((each) => overlap(path, each))
    if (other === undefined) continue
    problems.push(`prefix: what is below ${path} is below ${other} of ${theirs.name}, or around it`)
  }
  if (mine.plain && theirs.plain) {
    problems.push(`plain: ${theirs.name} has it, and only one can; say plain: false in one of them`)
  }
  return problems
}

/** Whether a name may begin with both. */
function overlap(left: string, right: string): boolean {
  return `${left}/`.startsWith(`${right}/`) || `${right}/`.startsWith(`${left}/`)
}

const UPSTREAMS =
  'expected names of upstreams with their fields, or names such as docker.io with commas between'

/** A mapping by name, as in YAML; a list of names; a text with names, or with the mapping in JSON. */
const upstreams = z.unknown().transform((value, context) => {
  const complete: CompleteUpstream[] = []
  for (const [name, fields] of entriesOf(value) ?? []) {
    for (const problem of addTo(complete, name, fields)) {
      context.addIssue({ code: 'custom', path: placeOf(name), message: problem })
    }
  }
  if (entriesOf(value) === undefined) context.addIssue({ code: 'custom', message: UPSTREAMS })
  return complete
})

function entriesOf(value: unknown): readonly (readonly [string, unknown])[] | undefined {
  if (typeof value === 'string') {
    if (/^\s*\{/.test(value)) return entriesOfJson(value)
    return entriesOf(value.split(/[\s,]+/).filter(Boolean))
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (!Array.isArray(value)) return Object.entries(value)
  // Half a JSON document, perhaps, with a password in it: its pieces must not be taken for names.
  const isNames = value.every(
    (name) => typeof name === 'string' && /^\w[\w-]*\.[\w.-]+$/.test(name),
  )
  return isNames ? value.map((name: string) => [name, undefined]) : undefined
}

function entriesOfJson(text: string): readonly (readonly [string, unknown])[] | undefined {
  try {
    return Object.entries(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** What cannot be a name may be one that runs into a password, for want of a space. */
function placeOf(name: string): string[] {
  return /^[\w.-]+$/.test(name) ? [name] : []
}

/** @returns what stands in the way */
function addTo(others: CompleteUpstream[], name: string, fields: unknown): readonly string[] {
  try {
    const upstream = completeUpstream(name, checkUpstream(name, fields))
    const problems = conflictsOf(upstream, others)
    others.push(upstream)
    return problems
  } catch (error) {
    if (error instanceof InvalidUpstream) return error.problems
    throw error
  }
}

export const UPSTREAM_SETTINGS = {
  upstreams: {
    schema: upstreams,
    standard: '',
    secret: true,
    text: 'Other registries to pull through, by name: names with commas between, or in JSON what the file says of them. See *Upstreams* below.',
  },
} as const satisfies Record<string, Setting>
