import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { program } from './clients.ts'
import { run, startDaemon } from './process.ts'
import type { Workspace } from './workspace.ts'

/** Runs ctr against one containerd. @throws Error with its output */
export type Ctr = (...args: string[]) => Promise<string>

/**
 * Starts a containerd with an empty store of its own, without its Kubernetes plugin.
 *
 * @param environment of ctr, which is what reaches registries
 */
export async function startContainerd(
  workspace: Workspace,
  name: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<Ctr> {
  const directory = await workspace.folder(name)
  const socket = path.join(directory, 'containerd.sock')
  const configuration = path.join(directory, 'config.toml')
  await writeFile(
    configuration,
    `version = 2
root = ${JSON.stringify(path.join(directory, 'root'))}
state = ${JSON.stringify(path.join(directory, 'state'))}
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = ${JSON.stringify(socket)}
[ttrpc]
address = ${JSON.stringify(`${socket}.ttrpc`)}
`,
  )
  const ctr: Ctr = (...args) => run(program('ctr'), ['--address', socket, ...args], environment)
  const { stop } = await startDaemon({
    command: program('containerd'),
    args: ['--config', configuration],
    logFile: path.join(directory, 'containerd.log'),
    isReady: () =>
      ctr('version').then(
        () => true,
        () => false,
      ),
  })
  workspace.onClose(stop)
  return ctr
}
