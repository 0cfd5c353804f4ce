import { describe, expect, it } from 'vitest'
import type { ConfigSources } from '../../config/config.ts'
import { upstreamSchema } from '../../config/upstream-schema.ts'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { fileOf } from './loading.ts'
import { load, ofYaml, problemsOf, SECRET } from './upstreams.ts'

describe('upstreams in a configuration', () => {
  it('are none unless said', () => {
    expect(load({})).toEqual([])
  })

  it('need three lines of YAML', () => {
    const [hub, ...others] = ofYaml('  docker.io: {}\n')
    expect(others).toEqual([])
    expect(hub).toEqual({
      name: 'docker.io',
      url: 'https://registry-1.docker.io',
      hosts: ['docker.io', 'registry-1.docker.io', 'index.docker.io'],
      prefix: 'docker.io',
      plain: true,
      library: true,
      credentials: undefined,
      realms: ['auth.docker.io'],
      ca: undefined,
      privateAddresses: false,
      freshSeconds: 300,
      staleSeconds: 30 * 86_400,
      negativeSeconds: 60,
      maxBytes: 0,
      concurrency: 4,
      reserve: 10,
      allow: ['**'],
      deny: [],
      shown: expect.anything(),
    })
  })

  it.each<[string, Partial<ConfigSources>]>([
    ['a mapping without fields', { file: '  ghcr.io:\n  quay.io: {}\n' }],
    ['a list', { file: '  - ghcr.io\n  - quay.io\n' }],
    ['a variable', { environment: { SLIPWAY_UPSTREAMS: 'ghcr.io, quay.io' } }],
    ['a variable in JSON', { environment: { SLIPWAY_UPSTREAMS: '{"ghcr.io":null,"quay.io":{}}' } }],
    ['a flag', { flags: { upstreams: 'ghcr.io,quay.io' } }],
  ])('are named by %s', (_, { file, ...sources }) => {
    const given = file === undefined ? {} : { file: fileOf(`upstreams:\n${file}`) }
    const found = load({ ...sources, ...given })
    expect(found).toMatchObject([
      {
        name: 'ghcr.io',
        url: 'https://ghcr.io',
        hosts: ['ghcr.io'],
        plain: false,
        library: false,
        realms: [],
      },
      { name: 'quay.io', prefix: 'quay.io' },
    ])
  })

  it('have fields as a person writes them', () => {
    const [upstream] = ofYaml(`  hub:
    url: HTTPS://Registry.Example.com:443/
    hosts: Registry.Example.com, registry.example.com:5000
    prefix: mirrors/example
    library: yes
    maxBytes: 50G
    freshSeconds: 0
    allow: [library/**, 'team/*']
    deny: secret/**
    realms: auth.example.com
    privateAddresses: true
    staleSeconds:
`)
    expect(upstream).toMatchObject({
      url: 'https://registry.example.com',
      hosts: ['registry.example.com', 'registry.example.com:5000'],
      prefix: 'mirrors/example',
      library: true,
      maxBytes: 50 * 2 ** 30,
      freshSeconds: 0,
      staleSeconds: 30 * 86_400,
      allow: ['library/**', 'team/*'],
      deny: ['secret/**'],
      realms: ['auth.example.com'],
      privateAddresses: true,
    })
  })

  it('send credentials of Docker Hub to its token service, not those of another registry', () => {
    expect(parseUpstream('docker.io', { url: 'https://hub.example.com' }, {}).realms).toEqual([])
    expect(parseUpstream('registry.gitlab.com', {}, {}).realms).toEqual(['gitlab.com'])
  })

  it('tell every problem in a line of its own, by where it stands', () => {
    const file = fileOf(`upstreams:
  docker.io:
    url: https://registry-1.docker.io/v2
    maxBites: 5
    concurrency: 0
  Ghcr.io: {}
  hub: {}
  quay.io: yes
`)
    expect(problemsOf(() => load({ file }))).toEqual([
      `${file}: upstreams: docker.io: url: expected a URL such as https://registry.example.com, without a path or a user name`,
      `${file}: upstreams: docker.io: concurrency: expected at least 1`,
      `${file}: upstreams: docker.io: maxBites: no such field`,
      expect.stringContaining(
        `${file}: upstreams: Ghcr.io: name: expected a name such as docker.io`,
      ),
      `${file}: upstreams: hub: url: needed, as hub does not look like a host`,
      `${file}: upstreams: quay.io: expected fields, such as url: https://…`,
    ])
  })

  it.each([
    ['url', 'registry.example.com'],
    ['url', 'ftp://registry.example.com'],
    ['url', 'https://alice:hunter2@registry.example.com'],
    ['url', 'https://registry.example.com?x'],
    ['url', 'https://registry.example.com/a'],
    ['url', 'https://registry.example.com#a'],
    ['hosts', ['registry example.com']],
    ['hosts', ['https://docker.io']],
    ['hosts', ['docker.io/library']],
    ['prefix', 'Mirrors'],
    ['prefix', '/mirrors'],
    ['prefix', 'ghcr.io/more'],
    ['allow', ['Library/**']],
    ['deny', ['a***']],
    ['credentialCommand', []],
    ['credentialCommand', ''],
    ['maxBytes', '-1'],
    ['staleSeconds', 'long'],
    ['password', 12_345],
    ['passwordVariable', 'SLIPWAY_HUB'],
    ['passwordVariable', 'A B'],
  ])('have no %s like %j', (field, value) => {
    const problems = problemsOf(() => parseUpstream('ghcr.io', { [field]: value }, {}))
    expect(problems.join()).toMatch(new RegExp(`^${field}: `))
    expect(problems.join()).not.toContain(SECRET)
  })

  it.each([
    ['names', 'docker.io,docker.io', 'docker.io: name: there is another docker.io'],
    [
      'prefixes',
      '{"ghcr.io":{"prefix":"mirrors"},"quay.io":{"prefix":"mirrors/quay"}}',
      'quay.io: prefix: what is below mirrors/quay is below mirrors of ghcr.io, or around it',
    ],
    [
      'prefixes and names',
      '{"ghcr.io":{},"quay.io":{"prefix":"ghcr.io"}}',
      'quay.io: prefix: what is below ghcr.io is below ghcr.io of ghcr.io, or around it',
    ],
    [
      'hosts',
      '{"ghcr.io":{},"quay.io":{"hosts":["quay.io","GHCR.io"]}}',
      'quay.io: hosts: ghcr.io is one of ghcr.io',
    ],
    [
      'plain names',
      '{"docker.io":{},"quay.io":{"plain":true}}',
      'quay.io: plain: docker.io has it, and only one can; say plain: false in one of them',
    ],
  ])('share no %s', (_, text, expected) => {
    const problems = problemsOf(() => load({ flags: { upstreams: text } }))
    expect(problems).toEqual([`--upstreams: ${expected}`])
  })

  it('may leave plain names to another than Docker Hub', () => {
    const text = '{"docker.io":{"plain":false},"quay.io":{"plain":true}}'
    expect(load({ flags: { upstreams: text } }).map(({ plain }) => plain)).toEqual([false, true])
  })
})

it('what the schema made of a definition can be stored, and makes the same again', () => {
  const written = upstreamSchema.parse({
    hosts: 'a.example, b.example',
    maxBytes: '1G',
    plain: 'no',
    credentialCommand: 'p get',
  })
  const stored: unknown = JSON.parse(JSON.stringify(written))
  expect(upstreamSchema.parse(stored)).toEqual(written)
  expect(parseUpstream('a.example', stored, {})).toMatchObject({
    hosts: ['a.example', 'b.example'],
    maxBytes: 2 ** 30,
    plain: false,
  })
})
