import { hostname } from 'node:os'
import type { Config } from '../../config/config.ts'
import {
  CLIENT_FORMATS,
  type ClientFile,
  type ClientFormat,
  clientFiles,
} from '../client-config.ts'
import { configurationOf } from '../configuration.ts'
import { print, remark } from '../printing.ts'
import { knownUpstreams, noUpstream } from '../upstreams.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

export const CLIENT_CONFIG_COMMAND: Command = {
  name: 'upstream client-config',
  text: 'print files that make clients ask here',
  settings: 'taken',
  words: ['[NAME]'],
  values: {
    address: {
      value: 'URL',
      text: 'How clients reach this registry. Without it, what follows from listen and tls.',
    },
    format: { value: 'CLIENT', text: `One of ${CLIENT_FORMATS.join(', ')}; all without it.` },
  },
  run: printClientConfig,
}

async function printClientConfig(options: CommandOptions): Promise<number> {
  const [name] = options.words
  const config = configurationOf(options)
  const address = addressOf(options, config)
  const formats = formatsOf(options)
  const known = (await knownUpstreams(options)).filter((each) => each.problems.length === 0)
  const wanted = known.filter((each) => name === undefined || each.name === name)
  if (wanted.length === 0) {
    throw name === undefined ? new Error('there are no upstreams') : noUpstream(name)
  }
  const upstreams = wanted.flatMap(({ upstream }) => upstream ?? [])
  const files = formats.flatMap((format) => {
    const found = clientFiles(format, upstreams, address)
    if (found.length === 0) remark(`${format}: has no way to ask for these; use the prefix`)
    return found
  })
  print(files.map(textOf).join('\n').trimEnd())
  return 0
}

function textOf({ path, content }: ClientFile): string {
  return `# ${path}\n${content}`
}

/** @throws UsageError */
function formatsOf({ values }: CommandOptions): readonly ClientFormat[] {
  const wanted = values['format']
  const formats = CLIENT_FORMATS.filter((format) => wanted === undefined || format === wanted)
  if (formats.length > 0) return formats
  throw new UsageError(`--format ${wanted}: expected ${CLIENT_FORMATS.join(', ')}`)
}

/** @throws UsageError */
function addressOf({ values }: CommandOptions, config: Config): URL {
  const given = values['address']
  if (given !== undefined) {
    const url = /^https?:\/\//.test(given) && URL.canParse(given) ? new URL(given) : undefined
    if (url !== undefined && url.href === `${url.origin}/`) return url
    throw new UsageError(`--address: expected a URL such as https://registry.example.com`)
  }
  const { host, port } = config.listen
  const name = /^(?:|0\.0\.0\.0|::)$/.test(host) ? hostname() : host
  const protocol = config['tls.certificate'] === undefined ? 'http' : 'https'
  return new URL(`${protocol}://${name.includes(':') ? `[${name}]` : name}:${port}`)
}
