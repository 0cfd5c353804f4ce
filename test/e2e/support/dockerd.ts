import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { program } from './clients.ts'
import { run, startDaemon } from './process.ts'
import type { Workspace } from './workspace.ts'

export interface Docker {
  /** Runs the docker client against this daemon. @throws Error with its output */
  docker(this: void, ...args: string[]): Promise<string>
  /** Builds an image from nothing, with one layer of one file for each of the contents. */
  build(this: void, image: string, ...contents: readonly (string | Uint8Array)[]): Promise<void>
  /** The digest under which the daemon knows the image in the repository, `sha256:…`. */
  digestOf(this: void, repository: string): Promise<string>
}

export interface DockerdOptions {
  /** `http://127.0.0.1:5000`, asked before Docker Hub. */
  readonly mirror?: string
  /** Of the daemon, which is what reaches registries. */
  readonly environment?: NodeJS.ProcessEnv
}

/** Starts a Docker daemon with an empty store of its own, without any network of containers. */
export async function startDockerd(
  workspace: Workspace,
  name: string,
  options: DockerdOptions = {},
): Promise<Docker> {
  const directory = await workspace.folder(name)
  const environment = {
    DOCKER_HOST: `unix://${directory}/docker.sock`,
    DOCKER_CONFIG: path.join(directory, 'client'),
    DOCKER_BUILDKIT: '0',
  }
  const docker = (...args: string[]) => run(program('docker'), args, environment)
  const { stop } = await startDaemon({
    command: program('dockerd'),
    args: [
      '--iptables=false',
      '--ip-forward=false',
      '--bridge=none',
      `--data-root=${directory}/data`,
      `--exec-root=${directory}/exec`,
      `--pidfile=${directory}/dockerd.pid`,
      `--host=${environment.DOCKER_HOST}`,
      ...(options.mirror === undefined ? [] : [`--registry-mirror=${options.mirror}`]),
    ],
    environment: options.environment ?? {},
    logFile: path.join(directory, 'dockerd.log'),
    isReady: () =>
      docker('info').then(
        () => true,
        () => false,
      ),
  })
  workspace.onClose(stop)

  let builds = 0
  return {
    docker,
    build: async (image, ...contents) => {
      builds += 1
      const context = await workspace.folder(`${name}-build-${builds}`)
      const steps = ['FROM scratch']
      for (const [index, content] of contents.entries()) {
        await writeFile(path.join(context, `content-${index}`), content)
        steps.push(`COPY content-${index} /`)
      }
      await writeFile(path.join(context, 'Dockerfile'), `${steps.join('\n')}\n`)
      await docker('build', '--quiet', '--tag', image, context)
    },
    digestOf: async (repository) => {
      const printed = await docker('images', '--digests', '--format', '{{.Digest}}', repository)
      const digests = new Set(printed.split('\n').filter((digest) => digest.startsWith('sha256:')))
      if (digests.size !== 1) throw new Error(`not one digest of ${repository}: ${printed}`)
      return [...digests].join()
    },
  }
}
