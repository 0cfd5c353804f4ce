import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { program } from './clients.ts'
import { run } from './process.ts'
import type { Workspace } from './workspace.ts'

/** Runs podman or buildah on one store of images. @throws Error with its output */
export type OnStore = (...args: string[]) => Promise<string>

/** podman with an empty store of its own; it leaves that of the system alone. */
export async function podmanWithStore(
  workspace: Workspace,
  name: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<OnStore> {
  const directory = await storeFolder(workspace, name)
  const options = [
    ...storeOptions(directory),
    `--tmpdir=${directory}/tmp`,
    '--cgroup-manager=cgroupfs',
    '--events-backend=none',
  ]
  const variables = { ...environmentIn(directory), ...environment }
  return (...args) => run(program('podman'), [...options, ...args], variables)
}

/** buildah with an empty store of its own; it leaves that of the system alone. */
export async function buildahWithStore(workspace: Workspace, name: string): Promise<OnStore> {
  const directory = await storeFolder(workspace, name)
  const options = storeOptions(directory)
  return (...args) => run(program('buildah'), [...options, ...args], environmentIn(directory))
}

/** A folder from which an image of one file is built on nothing. */
export async function writeBuildContext(
  workspace: Workspace,
  name: string,
  content: string,
): Promise<string> {
  const context = await workspace.folder(name)
  await writeFile(path.join(context, 'content'), content)
  await writeFile(path.join(context, 'Containerfile'), 'FROM scratch\nCOPY content /content\n')
  return context
}

async function storeFolder(workspace: Workspace, name: string): Promise<string> {
  const directory = await workspace.folder(name)
  await writeFile(path.join(directory, 'auth.json'), '{}')
  return directory
}

function storeOptions(directory: string): string[] {
  return [`--root=${directory}/root`, `--runroot=${directory}/run`, '--storage-driver=vfs']
}

function environmentIn(directory: string): NodeJS.ProcessEnv {
  return { REGISTRY_AUTH_FILE: path.join(directory, 'auth.json'), BUILDAH_ISOLATION: 'chroot' }
}
