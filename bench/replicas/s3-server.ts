import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../command.ts'

export interface S3Server {
  /** The processes that make it up. */
  readonly roots: readonly number[]
  /** The settings of a Slipway that keeps its blobs there. */
  readonly variables: Readonly<Record<string, string>>
}

/**
 * Starts a server of scripts/s3, by its name there, with its data in a new folder. What `onClose`
 * is given ends it, also when it has not come up.
 */
export async function startS3Server(
  name: string,
  directory: string,
  onClose: (close: () => Promise<void>) => void,
): Promise<S3Server> {
  const script = fileURLToPath(new URL(`../../scripts/s3/${name}`, import.meta.url))
  onClose(async () => void (await run(script, ['stop', directory])))
  const printed = await run(script, ['start', directory])
  const url = new URL(printed.trim())
  const pidFiles = path.join(directory, 'pid')
  return {
    // Each begins with the id of a process.
    roots: readdirSync(pidFiles).map((file) =>
      Number.parseInt(readFileSync(path.join(pidFiles, file), 'utf8'), 10),
    ),
    variables: {
      SLIPWAY_STORAGE_TYPE: 's3',
      SLIPWAY_STORAGE_S3_ENDPOINT: url.origin,
      SLIPWAY_STORAGE_S3_BUCKET: url.pathname.slice(1),
      SLIPWAY_STORAGE_S3_ACCESS_KEY_ID: decodeURIComponent(url.username),
      SLIPWAY_STORAGE_S3_SECRET_ACCESS_KEY: decodeURIComponent(url.password),
    },
  }
}
