import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { s3Variables } from '../../support/s3.ts'
import { freePort, startDaemon } from './process.ts'
import type { Workspace } from './workspace.ts'

const executable = fileURLToPath(new URL('../../../bin/slipway.cjs', import.meta.url))

export interface Slipway {
  readonly url: string
  /** Host and port, as clients write it before a repository. */
  readonly host: string
  readonly pid: number
  readonly dataDirectory: string
  stop(this: void): Promise<void>
  kill(this: void): Promise<void>
}

/**
 * Starts the built server on a free port with its data in the workspace, which also ends it.
 * `dataDirectory` names that of an earlier server that has ended.
 *
 * @throws Error with the end of its log when it does not become ready
 */
export async function startSlipway(
  workspace: Workspace,
  dataDirectory = path.join(workspace.directory, 'data'),
): Promise<Slipway> {
  const host = `127.0.0.1:${await freePort()}`
  const url = `http://${host}`
  const { pid, stop, kill } = await startDaemon({
    command: executable,
    args: ['serve', '--data', dataDirectory, '--listen', host],
    environment: storageVariables(dataDirectory),
    logFile: path.join(workspace.directory, 'slipway.log'),
    isReady: () => answers(`${url}/readyz`),
  })
  workspace.onClose(stop)
  return { url, host, pid, dataDirectory, stop, kill }
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
