import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = path.resolve(import.meta.dirname, '..')

/** Which folder may import which; docs/architecture.md says why. Every folder may import itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  oci: [],
  config: ['oci'],
  observability: ['oci'],
  'storage/blob': ['oci'],
  'storage/metadata': ['oci'],
  migrations: [],
  'migrations/dump.ts': ['migrations', 'postgres'],
  postgres: [],
  auth: ['oci', 'storage/metadata'],
  upstream: ['oci'],
  registry: ['oci', 'storage/blob', 'storage/metadata', 'upstream', 'observability'],
  server: ['oci', 'registry', 'auth', 'config', 'observability'],
  'server/listen.ts': ['oci', 'registry', 'auth', 'config', 'observability', 'server'],
  'server/access-control.ts': ['auth', 'config', 'observability', 'oci', 'storage/metadata'],
  'server/blob-store.ts': ['config', 'storage/blob'],
  'server/keeping.ts': ['config', 'registry'],
  'server/retention.ts': ['auth', 'config', 'oci', 'registry'],
  'server/upstreams.ts': ['config', 'oci', 'registry', 'storage/metadata', 'upstream'],
  'server/compose.ts': [
    'auth',
    'config',
    'migrations',
    'observability',
    'oci',
    'postgres',
    'registry',
    'server',
    'server/access-control.ts',
    'server/blob-store.ts',
    'server/keeping.ts',
    'server/listen.ts',
    'server/retention.ts',
    'server/upstreams.ts',
    'storage/blob',
    'storage/metadata',
  ],
  cli: [
    'auth',
    'config',
    'observability',
    'oci',
    'migrations',
    'postgres',
    'registry',
    'server/access-control.ts',
    'server/blob-store.ts',
    'server/compose.ts',
    'server/keeping.ts',
    'server/listen.ts',
    'server/retention.ts',
    'storage/blob',
    'storage/metadata',
  ],
}

/** Which packages only these folders may import. */
const ONLY_IN: Readonly<Record<string, readonly string[]>> = {
  koa: ['server'],
  '@koa/router': ['server'],
  pg: ['storage/metadata', 'migrations', 'migrations/dump.ts'],
  jose: ['auth'],
  undici: ['upstream'],
  '@aws-sdk/client-s3': ['storage/blob'],
  '@aws-sdk/s3-request-presigner': ['storage/blob'],
}

const SOURCES = [...new Set(Object.keys(MAY_IMPORT).map((key) => key.split('/')[0]!))].flatMap(
  (folder) => filesBelow(folder, '.ts'),
)

describe('the sources', () => {
  it('are found', () => {
    expect(SOURCES.length).toBeGreaterThan(50)
    expect(SOURCES).toContain('server/http/v2-path.ts')
  })

  it('lie in folders that have a rule', () => {
    expect(SOURCES.filter((file) => !(ownerOf(file) in MAY_IMPORT))).toEqual([])
  })

  it.each(Object.keys(MAY_IMPORT))('of %s import nothing they may not', (owner) => {
    const allowed = [owner, ...MAY_IMPORT[owner]!]
    const strays = SOURCES.filter((file) => ownerOf(file) === owner).flatMap((file) =>
      importsOf(file)
        .filter((target) => target.startsWith('.'))
        .map((target) => path.join(path.dirname(file), target))
        .filter((target) => !allowed.includes(ownerOf(target)))
        .map((target) => `${file} imports ${target}`),
    )
    expect(strays).toEqual([])
  })

  it.each(Object.keys(ONLY_IN))('import %s only where it belongs', (name) => {
    const strays = SOURCES.filter((file) => {
      const named = importsOf(file).some((from) => from === name || from.startsWith(`${name}/`))
      return named && !ONLY_IN[name]!.includes(ownerOf(file))
    })
    expect(strays).toEqual([])
  })

  it('read the environment only in config and cli', () => {
    const strays = SOURCES.filter((file) => /\bprocess\.env\b/.test(read(file)))
    // The programs it starts have to find others, such as setpriv: it passes PATH on, and nothing else.
    const passesPathOn = 'postgres/program.ts'
    expect(strays.filter((file) => !/^(?:config|cli)\//.test(file))).toEqual([passesPathOn])
    expect(read(passesPathOn).match(/process\.env\b.*/g)).toEqual([
      "process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }",
    ])
  })

  it('have SQL only in storage/metadata and migrations', () => {
    const strays = SOURCES.filter((file) => SQL.test(read(file)))
    expect(strays.filter((file) => !/^(?:storage\/metadata|migrations)\//.test(file))).toEqual([])
    expect(strays).toContain('storage/metadata/tags.ts')
  })

  it('have names that say what is in them', () => {
    const strays = SOURCES.filter((file) => EMPTY_NAMES.test(file))
    expect(strays).toEqual([])
  })

  it('are not imported from tests', () => {
    const strays = SOURCES.filter((file) => importsOf(file).some((from) => /\/test\//.test(from)))
    expect(strays).toEqual([])
  })
})

describe('the documents', () => {
  const documents = ['README.md', 'CONTRIBUTING.md', ...filesBelow('docs', '.md')].filter((file) =>
    existsSync(path.join(ROOT, file)),
  )

  it.each(documents)('%s names only files that exist', (document) => {
    const missing = pathsIn(read(document)).filter((named) => !existsSync(path.join(ROOT, named)))
    expect(missing).toEqual([])
  })
})

/** A statement at the beginning of a text, in whatever quotes. */
const SQL =
  /['"`]\s*(?:select\s+\S|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s|with\s+\w+\s+as\s*\()/i

const EMPTY_NAMES =
  /(?:^|[/-])(?:utils?|helpers?|common|lib|misc|managers?|index|service)(?:[/.]|$)/

/** Every relative file and package that is imported, as a type too. */
function importsOf(file: string): string[] {
  const matches = read(file).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)
  return [...matches].map((match) => match[1]!)
}

/** The most exact key of the table that covers `file`: a file of its own, else the folder. */
function ownerOf(file: string): string {
  const keys = Object.keys(MAY_IMPORT).filter((key) => file === key || file.startsWith(`${key}/`))
  return keys.toSorted((left, right) => right.length - left.length)[0] ?? file
}

/** What stands in backticks and looks like a path of this repository; patterns do not. */
function pathsIn(document: string): string[] {
  const folders = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
  const built = new Set(['dist', 'data', 'node_modules', 'coverage'])
  return [...document.matchAll(/`([^`\s]+)`/g)]
    .map((match) => match[1]!.split('#', 1)[0]!)
    .filter((text) => /^[\w.-]+(?:\/[\w.-]+)*\/?$/.test(text) && text.includes('/'))
    .filter((text) => {
      const first = text.split('/', 1)[0]!
      if (built.has(first) || first === '.' || first === '..') return false
      return folders.includes(first) || /\.(?:ts|mjs|cjs|sql|md|yml|bash)$/.test(text)
    })
}

function filesBelow(folder: string, ending: string): string[] {
  if (!existsSync(path.join(ROOT, folder))) return []
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => path.join(folder, name))
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8')
}
