import { readFileSync, writeFileSync } from 'node:fs'
import { RETENTION_FIELDS } from './retention-fields.ts'
import { flagOf, SETTINGS, type Setting, variableOf } from './settings.ts'
import { UPSTREAM_FIELDS } from './upstream-fields.ts'

// Writes docs/configuration.md from the settings; with --check only says whether it is current.

const FILE = new URL('../docs/configuration.md', import.meta.url)

function render(): string {
  const rows = Object.entries<Setting>(SETTINGS).map(([key, setting]) => {
    const { text, secret } = setting
    const value = standardOf(setting)
    const variable = `\`${variableOf(key)}\`${secret ? ' or `…_FILE`' : ''}`
    return `| \`${key}\` | ${variable} | \`--${flagOf(key)}\` | ${value} | ${text} |`
  })
  return `# Configuration

Generated from \`config/settings.ts\` by \`npm run docs\`.

Slipway starts without any. A setting is read from, the first that has it:

1. a flag: \`slipway serve --listen 127.0.0.1:5001\`
2. the environment: \`SLIPWAY_LISTEN=127.0.0.1:5001\`
3. a file, \`slipway.yml\` in the working folder or the one named by \`--config\` or \`SLIPWAY_CONFIG\`; dots are levels:

\`\`\`yaml
listen: 127.0.0.1:5001
limits:
  uploadBytes: 10G
\`\`\`

A secret can also come from a file: the variable with \`_FILE\` appended names it.
\`slipway config check\` tells every problem at once, and prints the settings in force.

| setting | variable | flag | default | meaning |
| --- | --- | --- | --- | --- |
${rows.join('\n')}

## Upstreams

Registries to pull through, each by the name under which what it has is found here. \`{}\` will do for most of them:

\`\`\`yaml
upstreams:
  docker.io:
    username: alice
    passwordFile: /run/secrets/hub
  ghcr.io: {}
\`\`\`

\`SLIPWAY_UPSTREAMS=docker.io,ghcr.io\` names some that need no fields, and takes the same mapping in JSON.
\`slipway upstream add\` adds others while the server runs. [upstreams.md](upstreams.md) tells how they work.

| field | default | meaning |
| --- | --- | --- |
${renderFields(UPSTREAM_FIELDS)}

${renderRetention()}`
}

function renderRetention(): string {
  return `## Retention

Rules that say which tags go, and which stay whatever the others say. [retention.md](retention.md) tells how they work.

\`\`\`yaml
retention:
  ignorePullsOf: [robot:scanner]
  rules:
    - name: ci
      repositories: [team-*/**]
      tags: [pr-*, sha-*]
      delete: { olderThan: 14d, notPulledFor: 7d }
      keep: { newest: 5 }
\`\`\`

| field of a rule | default | meaning |
| --- | --- | --- |
${renderFields(RETENTION_FIELDS)}
`
}

function renderFields(fields: Readonly<Record<string, Setting>>): string {
  return Object.entries(fields)
    .map(([key, setting]) => `| \`${key}\` | ${standardOf(setting)} | ${setting.text} |`)
    .join('\n')
}

function standardOf({ standard }: Setting): string {
  return standard === undefined || standard === '' ? '' : `\`${standard}\``
}

const current = render()
if (process.argv.includes('--check')) {
  if (readFileSync(FILE, 'utf8') !== current) {
    process.stderr.write('docs/configuration.md is stale: npm run docs\n')
    process.exitCode = 1
  }
} else {
  writeFileSync(FILE, current)
}
