import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { s3Variables } from '../../support/s3.ts'
import { secretsIn } from '../../support/secrets.ts'
import { freePort, run, startDaemon } from './process.ts'
import type { Workspace } from './workspace.ts'

const executable = fileURLToPath(new URL('../../../bin/slipway.cjs', import.meta.url))

export interface Slipway {
  readonly url: string
  /** Host and port, as clients write it before a repository. */
  readonly host: string
  readonly pid: number
  readonly dataDirectory: string
  readonly logFile: string
  stop(this: void): Promise<void>
  kill(this: void): Promise<void>
}

export interface SlipwayOptions {
  /** That of an earlier server that has ended; without it, one with a free port. */
  readonly host?: string
  /** Settings besides the data folder and the address; without them, where blobs lie. */
  readonly environment?: NodeJS.ProcessEnv
}

/**
 * Starts the built server with its data in the workspace, which also ends it. `dataDirectory`
 * names that of an earlier server that has ended.
 *
 * @throws Error with the end of its log when it does not become ready
 */
export async function startSlipway(
  workspace: Workspace,
  dataDirectory = path.join(workspace.directory, 'data'),
  options: SlipwayOptions = {},
): Promise<Slipway> {
  const host = options.host ?? `127.0.0.1:${await freePort()}`
  const url = `http://${host}`
  const logFile = `${dataDirectory}.log`
  const { pid, stop, kill } = await startDaemon({
    command: executable,
    args: ['serve', '--data', dataDirectory, '--listen', host],
    environment: options.environment ?? storageVariables(dataDirectory),
    logFile,
    isReady: () => answers(`${url}/readyz`),
  })
  workspace.onClose(async () => {
    await stop()
    const found = secretsIn(await readFile(logFile, 'utf8'))
    if (found.length > 0) throw new Error(`the server logged secrets: ${found.join(', ')}`)
  })
  return { url, host, pid, dataDirectory, logFile, stop, kill }
}

/** Runs a command of the built program. @throws Error with what it wrote when it fails */
export function runSlipway(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<string> {
  return run(executable, args, environment)
}

/** Blobs lie in the data folder, or in the bucket of the tests where SLIPWAY_TEST_STORAGE is s3. */
function storageVariables(dataDirectory: string): NodeJS.ProcessEnv {
  if (process.env['SLIPWAY_TEST_STORAGE'] !== 's3') return {}
  return s3Variables(`e2e${dataDirectory}`)
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url)
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false // not listening yet
  }
}
