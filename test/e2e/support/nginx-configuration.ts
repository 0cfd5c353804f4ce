import { readFile } from 'node:fs/promises'

const DEPLOYED = new URL('../../../deploy/nginx.conf', import.meta.url)
const OF_BLOBS = new URL('../../../deploy/nginx-blobs.conf', import.meta.url)

export interface NginxSettings {
  /** Where nginx listens, `127.0.0.1:8080`. */
  readonly listen: string
  /** The Slipways behind it, each as `127.0.0.1:5000`. */
  readonly replicas: readonly string[]
  /** An existing folder for what nginx writes. */
  readonly directory: string
  /** The folder of the blobs, where nginx is to send them itself. */
  readonly blobs?: string | undefined
}

/**
 * The configuration that people are given, with other addresses and folders and nothing else
 * changed, so that what it says is what is tried.
 *
 * @throws Error when that file is not of the form that is looked for
 */
export async function nginxConfiguration(settings: NginxSettings): Promise<string> {
  const { listen, replicas, directory, blobs } = settings
  let text = await readFile(DEPLOYED, 'utf8')
  const replace = (pattern: RegExp, by: (...groups: string[]) => string) => {
    if (!pattern.test(text)) throw new Error(`${DEPLOYED.pathname} has nothing like ${pattern}`)
    text = text.replace(pattern, (_, ...groups: string[]) => by(...groups))
  }
  replace(/^( *)server replica-1:5000(.*);\n(?: *server replica-\d+:5000.*;\n)*/m, (space, rest) =>
    replicas.map((replica) => `${space}server ${replica}${rest};\n`).join(''),
  )
  replace(/^( *)listen 5000;$/m, (space) => `${space}listen ${listen};`)
  replace(/^pid .*;$/m, () => `pid ${directory}/nginx.pid;`)
  // The folders that a package has compiled in belong to the nginx of the system.
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  replace(
    /^http \{$/m,
    () => `http {\n${temporary.map((of) => `  ${of}_temp_path ${directory}/${of};\n`).join('')}`,
  )
  if (blobs !== undefined) {
    const locations = await readFile(OF_BLOBS, 'utf8')
    replace(/^( *)location \/ \{$/m, (space) => `${locations}\n${space}location / {`)
    replace(/^( *)alias [^;]+;/m, (space) => `${space}alias ${blobs}/;`)
  }
  return text
}
