import { createHash } from 'node:crypto'
import path from 'node:path'
import { program } from './clients.ts'
import { run } from './process.ts'
import type { Workspace } from './workspace.ts'

export interface Skopeo {
  login(this: void, host: string, name: string, password: string): Promise<void>
  /** Copies an image with all its platforms and without a change of any byte. */
  copy(this: void, from: string, to: string): Promise<void>
  /** Removes the manifest that `image` names. */
  delete(this: void, image: string): Promise<void>
  listTags(this: void, repository: string): Promise<readonly string[]>
  /** The digest of the manifest or index as the registry sends it. */
  digestOf(this: void, image: string): Promise<string>
}

/** Images are written as skopeo writes them: `docker://host/name:tag` or `oci:folder:tag`. */
export function skopeoIn(workspace: Workspace): Skopeo {
  const environment = { REGISTRY_AUTH_FILE: path.join(workspace.directory, 'auth.json') }
  const skopeo = (...args: string[]) => run(program('skopeo'), args, environment)
  return {
    login: async (host, name, password) => {
      await skopeo('login', '--tls-verify=false', '--username', name, '--password', password, host)
    },
    copy: async (from, to) => {
      const plainHttp = ['--src-tls-verify=false', '--dest-tls-verify=false']
      await skopeo('copy', '--quiet', '--all', '--preserve-digests', ...plainHttp, from, to)
    },
    delete: async (image) => {
      await skopeo('delete', '--tls-verify=false', image)
    },
    listTags: async (repository) => {
      const printed = await skopeo('list-tags', '--tls-verify=false', repository)
      return (JSON.parse(printed) as { Tags: string[] }).Tags
    },
    digestOf: async (image) => {
      // run() takes one newline off the end; manifests of these tests have none there
      const manifest = await skopeo('inspect', '--raw', '--tls-verify=false', image)
      return `sha256:${createHash('sha256').update(manifest).digest('hex')}`
    },
  }
}
