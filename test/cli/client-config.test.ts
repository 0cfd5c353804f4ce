import { hostname } from 'node:os'
import { describe, expect, it } from 'vitest'
import { clientFiles } from '../../cli/client-config.ts'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { runHere } from './run.ts'
import { slipway } from './slipway.ts'

const HUB = parseUpstream('docker.io', { hosts: ['docker.io'] }, {})
const MIRROR = parseUpstream(
  'hub',
  { url: 'http://10.0.0.1:5000', hosts: 'hub,reg.example.com:5000', prefix: 'mirrors/x' },
  {},
)
const LOOPBACK = new URL('http://127.0.0.1:5000')
const PLAIN = new URL('http://registry.example.com:5000')
const SECURE = new URL('https://registry.example.com')

function settingsFor(address: URL): unknown {
  return JSON.parse(clientFiles('docker', [HUB, MIRROR], address)[0]!.content)
}

describe('for Docker', () => {
  it('there is a mirror, which it trusts without TLS where it would not of itself', () => {
    expect(settingsFor(LOOPBACK)).toEqual({ 'registry-mirrors': ['http://127.0.0.1:5000'] })
    expect(settingsFor(new URL('http://[::1]:5000'))).not.toHaveProperty('insecure-registries')
    expect(settingsFor(SECURE)).toEqual({ 'registry-mirrors': ['https://registry.example.com'] })
    expect(settingsFor(PLAIN)).toEqual({
      'registry-mirrors': ['http://registry.example.com:5000'],
      'insecure-registries': ['registry.example.com:5000'],
    })
  })

  it('there is nothing when no upstream answers for plain names', () => {
    expect(clientFiles('docker', [MIRROR], PLAIN)).toEqual([])
  })
})

it('for containerd there is a file for each host that can begin the name of an image', () => {
  expect(clientFiles('containerd', [HUB, MIRROR], SECURE)).toEqual([
    {
      path: '/etc/containerd/certs.d/docker.io/hosts.toml',
      content: `server = "https://registry-1.docker.io"

[host."https://registry.example.com"]
  capabilities = ["pull", "resolve"]
`,
    },
    {
      path: '/etc/containerd/certs.d/reg.example.com:5000/hosts.toml',
      content: expect.stringContaining('server = "http://10.0.0.1:5000"\n'),
    },
  ])
})

it('for podman there is one file, with the prefix of each upstream', () => {
  expect(clientFiles('podman', [HUB, MIRROR], PLAIN)).toEqual([
    {
      path: '/etc/containers/registries.conf.d/slipway.conf',
      content: `[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "registry.example.com:5000/docker.io"
insecure = true

[[registry]]
prefix = "reg.example.com:5000"
location = "reg.example.com:5000"

[[registry.mirror]]
location = "registry.example.com:5000/mirrors/x"
insecure = true
`,
    },
  ])
  expect(clientFiles('podman', [HUB], SECURE)[0]?.content).not.toContain('insecure')
})

describe('slipway upstream client-config', () => {
  const words = ['upstream', 'client-config']

  it('needs no database, and names each file in a comment', () => {
    const file = 'upstreams:\n  docker.io: {}\n  ghcr.io: {}\n'
    const { status, stdout, stderr } = slipway(words, { file })
    expect(stderr).toBe('')
    expect(stdout.match(/^# .*$/gm)).toEqual([
      '# /etc/docker/daemon.json',
      '# /etc/containerd/certs.d/docker.io/hosts.toml',
      '# /etc/containerd/certs.d/registry-1.docker.io/hosts.toml',
      '# /etc/containerd/certs.d/index.docker.io/hosts.toml',
      '# /etc/containerd/certs.d/ghcr.io/hosts.toml',
      '# /etc/containers/registries.conf.d/slipway.conf',
    ])
    expect(stdout).toContain('"http://127.0.0.1:5000"')
    expect(status).toBe(0)
  })

  it.each([
    [['--listen', ':5001'], `http://${hostname().toLowerCase()}:5001`],
    [['--listen', '[::]:5001'], `http://${hostname().toLowerCase()}:5001`],
    [['--listen', '[::1]:5001'], 'http://[::1]:5001'],
    [['--listen', '10.0.0.1:443', '--tls-certificate', 'c', '--tls-key', 'k'], 'https://10.0.0.1'],
    [['--address', 'https://Registry.example.com/'], 'https://registry.example.com'],
  ])('takes the address of %j', async (flags, address) => {
    const nowhere = ['--data', '/nonexistent']
    const docker = ['--format', 'docker', '--upstreams', 'docker.io']
    const { stdout } = await runHere([...words, ...docker, ...nowhere, ...flags])
    expect(JSON.parse(stdout.replace(/^#.*$/m, ''))).toMatchObject({
      'registry-mirrors': [address],
    })
  })

  it.each([
    [['--upstreams', 'docker.io', '--format', 'rkt'], '--format rkt: expected docker, containerd'],
    [['--upstreams', 'docker.io', '--address', 'example.com'], '--address: expected a URL'],
    [['--upstreams', 'docker.io', '--address', 'http://a/b'], '--address: expected a URL'],
    [['--upstreams', 'docker.io', 'ghcr.io'], 'there is no upstream ghcr.io'],
    [[], 'there are no upstreams'],
  ])('says what is wrong with %j', async (rest, message) => {
    await expect(runHere([...words, ...rest, '--data', '/nonexistent'])).rejects.toThrow(message)
  })

  it('says so where a client has no way to ask', async () => {
    const rest = ['--upstreams', 'ghcr.io', '--format', 'docker', '--data', '/nonexistent']
    const { stdout, stderr } = await runHere([...words, ...rest])
    expect(stdout.trim()).toBe('')
    expect(stderr).toBe('docker: has no way to ask for these; use the prefix\n')
  })
})
