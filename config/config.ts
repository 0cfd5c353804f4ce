import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import type { z } from 'zod'
import { flagOf, SETTINGS, type Setting, type SettingKey, variableOf } from './settings.ts'
import { InvalidUpstream } from './upstream-schema.ts'
import { resolveUpstream, type UpstreamDefinition } from './upstream-settings.ts'

type Values = {
  readonly [Key in SettingKey]:
    | z.output<(typeof SETTINGS)[Key]['schema']>
    | ((typeof SETTINGS)[Key] extends { standard: string } ? never : undefined)
}

/** Every setting with its value, by the key in `slipway.yml`. */
export type Config = Omit<Values, 'upstreams'> & {
  /** Their passwords and certificates are read when the configuration is. */
  readonly upstreams: readonly UpstreamDefinition[]
}

export interface ConfigSources {
  /** Values of flags by setting key: they win over the environment, and that over the file. */
  readonly flags: Readonly<Partial<Record<string, string>>>
  readonly environment: NodeJS.ProcessEnv
  /** A file to read; without it `slipway.yml` of the working folder, if there is one. */
  readonly file?: string | undefined
}

/** All that is wrong with the configuration, a line each. It never shows a secret's value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`the configuration is not usable:\n${problems.map((line) => `  ${line}`).join('\n')}`)
    this.problems = problems
  }
}

export const STANDARD_FILE = 'slipway.yml'

/** @throws ConfigError that names every problem at once */
export function loadConfig(sources: ConfigSources): Config {
  const problems: string[] = []
  const file = readFile(sources.file, problems)
  const environment = readEnvironment(sources.environment, problems)
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries<Setting>(SETTINGS)) {
    const given = [
      { from: `--${flagOf(key)}`, value: sources.flags[key] as unknown },
      { from: environment.get(key)?.variable ?? '', value: environment.get(key)?.value },
      { from: `${file.name}: ${key}`, value: file.values.get(key) },
    ].find(({ value }) => value !== undefined)
    const value = given?.value ?? setting.standard
    if (value === undefined) continue
    const parsed = setting.schema.safeParse(value)
    if (parsed.success) values[key] = parsed.data
    else problems.push(...describe(given?.from ?? key, setting, value, parsed.error))
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was parsed by the schema of its key
  const parsed = values as unknown as Values
  const upstreams = resolveUpstreams(parsed, sources.environment, problems)
  const config: Config = Object.freeze({ ...parsed, upstreams })
  problems.push(...contradictions(config))
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

/** A line, or one for each place within the value. */
function describe(
  from: string,
  setting: Setting,
  value: unknown,
  { issues }: z.ZodError,
): readonly string[] {
  if (issues.some((issue) => issue.path.length > 0)) {
    return issues.map((issue) => [from, ...issue.path.map(String), issue.message].join(': '))
  }
  const expected = [...new Set(issues.map(({ message }) => message))].join('; ')
  return [setting.secret ? `${from}: ${expected}` : `${from}: ${expected}, not ${show(value)}`]
}

/** Reads the files and variables that upstreams name. */
function resolveUpstreams(
  { upstreams = [] }: Partial<Values>,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): readonly UpstreamDefinition[] {
  return upstreams.flatMap((upstream) => {
    try {
      return resolveUpstream(upstream, environment)
    } catch (error) {
      if (!(error instanceof InvalidUpstream)) throw error
      problems.push(...error.problems.map((line) => `upstreams: ${upstream.name}: ${line}`))
      return []
    }
  })
}

function show(value: unknown): string {
  return JSON.stringify(value).slice(0, 80)
}

interface FileValues {
  readonly name: string
  readonly values: ReadonlyMap<string, unknown>
}

function readFile(wanted: string | undefined, problems: string[]): FileValues {
  const name = wanted ?? STANDARD_FILE
  if (wanted === undefined && !existsSync(name)) return { name, values: new Map() }
  try {
    const document: unknown = parseYaml(readFileSync(name, 'utf8')) ?? {}
    if (!isTree(document)) throw new Error('expected settings, one a line')
    const values = new Map(leaves(document, ''))
    for (const key of values.keys()) {
      if (!Object.hasOwn(SETTINGS, key))
        problems.push(`${name}: ${key}: no such setting${near(key)}`)
    }
    return { name, values }
  } catch (error) {
    problems.push(`${name}: ${error instanceof YAMLParseError ? placeOf(error) : asText(error)}`)
    return { name, values: new Map() }
  }
}

/** What and where, without the lines of the file that follow: there may be a secret in them. */
function placeOf(error: YAMLParseError): string {
  return error.message.split('\n', 1)[0]!.replace(/:$/, '')
}

type Tree = Record<string, unknown>

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Their values are trees, in which names with dots are names. */
const TREES: ReadonlySet<string> = new Set<SettingKey>(['upstreams'])

function* leaves(tree: Tree, prefix: string): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(tree)) {
    const key = prefix + name
    if (isTree(value) && !TREES.has(key)) yield* leaves(value, `${key}.`)
    // A key without a value is a setting that was left out.
    else if (value !== null) yield [key, value]
  }
}

interface Variable {
  readonly variable: string
  readonly value: string
}

const FOREIGN = new Set(['SLIPWAY_CONFIG'])

function readEnvironment(
  environment: NodeJS.ProcessEnv,
  problems: string[],
): ReadonlyMap<string, Variable> {
  const found = new Map<string, Variable>()
  const known = new Set(FOREIGN)
  for (const [key, setting] of Object.entries<Setting>(SETTINGS)) {
    const variable = variableOf(key)
    known.add(variable)
    const value = environment[variable]
    if (value !== undefined && value !== '') found.set(key, { variable, value })
    if (!setting.secret) continue
    const fileVariable = `${variable}_FILE`
    known.add(fileVariable)
    const file = environment[fileVariable]
    if (file === undefined || file === '') continue
    if (found.has(key)) problems.push(`${fileVariable}: ${variable} is set as well`)
    try {
      found.set(key, { variable: fileVariable, value: readFileSync(file, 'utf8').trim() })
    } catch (error) {
      problems.push(`${fileVariable}: ${asText(error)}`)
    }
  }
  for (const variable of Object.keys(environment)) {
    if (variable.startsWith('SLIPWAY_') && !known.has(variable) && !isForeign(variable)) {
      problems.push(`${variable}: no such setting`)
    }
  }
  return found
}

/** Of the tests, and of Kubernetes, which describes a service named slipway to its pods. */
function isForeign(variable: string): boolean {
  return /^SLIPWAY_(?:TEST_|SERVICE_|PORT$|PORT_)/.test(variable)
}

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/

/** Whether nobody on another machine can reach the address. */
export function listensOnLoopback({ listen }: Pick<Config, 'listen'>): boolean {
  return LOOPBACK.test(listen.host)
}

/** Of settings that are right each by itself; one that is not is missing from `config`. */
function contradictions(config: Partial<Config>): string[] {
  const problems: string[] = []
  const certificate = config['tls.certificate']
  if ((certificate === undefined) !== (config['tls.key'] === undefined)) {
    problems.push('tls.certificate and tls.key: one goes with the other')
  }
  if (config['tls.clientAuthorities'] !== undefined && certificate === undefined) {
    problems.push('tls.clientAuthorities: tls.certificate and tls.key go with it')
  }
  return [
    ...problems,
    ...accelContradictions(config),
    ...accessContradictions(config),
    ...s3Contradictions(config),
  ]
}

function accelContradictions(config: Partial<Config>): string[] {
  if (config['storage.accelPath'] === undefined) return []
  const problems: string[] = []
  if (config['storage.type'] === 's3') {
    problems.push('storage.accelPath: it goes with storage.type filesystem')
  }
  if (config.trustedProxies?.length === 0) {
    problems.push('storage.accelPath: trustedProxies has to name the nginx that sends the blobs')
  }
  return problems
}

function accessContradictions(config: Partial<Config>): string[] {
  const external = ['tokens.issuer', 'tokens.jwks', 'tokens.rootCertificates'] as const
  const given = external.filter((key) => config[key] !== undefined)
  if (config.auth !== 'external') {
    return given.map((key) => `${key}: auth: external goes with it`)
  }
  const problems: string[] = []
  for (const key of ['tokens.realm', 'tokens.issuer'] as const) {
    if (config[key] === undefined) problems.push(`${key}: auth: external needs it`)
  }
  if (config['tokens.jwks'] === undefined && config['tokens.rootCertificates'] === undefined) {
    problems.push('tokens.jwks or tokens.rootCertificates: auth: external needs one of them')
  }
  if (config['access.htpasswd'] !== undefined) {
    problems.push('access.htpasswd: with auth: external the other service knows the users')
  }
  return problems
}

function s3Contradictions(config: Partial<Config>): string[] {
  const problems: string[] = []
  if (config['storage.type'] === 's3' && config['storage.s3.bucket'] === undefined) {
    problems.push('storage.s3.bucket: storage.type s3 needs one')
  }
  const { 'storage.s3.accessKeyId': key, 'storage.s3.secretAccessKey': secret } = config
  if ((key === undefined) !== (secret === undefined)) {
    problems.push('storage.s3.accessKeyId and storage.s3.secretAccessKey: one goes with the other')
  }
  const encryption = config['storage.s3.encryption'] ?? 'none'
  if (config['storage.s3.kmsKey'] !== undefined && !encryption.startsWith('aws:kms')) {
    problems.push('storage.s3.kmsKey: storage.s3.encryption aws:kms goes with it')
  }
  return problems
}

/** Folder of the blobs on the filesystem. */
export function storageRoot(config: Config): string {
  return path.resolve(config['storage.root'] ?? path.join(config.data, 'registry'))
}

/** The key that a person may have meant. */
function near(key: string): string {
  const last = key.split('.').at(-1)?.toLowerCase()
  const meant = Object.keys(SETTINGS).find((known) => known.toLowerCase().endsWith(last ?? ' '))
  return meant === undefined ? '' : `; did you mean ${meant}?`
}

function asText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
