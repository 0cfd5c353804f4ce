import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../command.ts'
import type { OnClose } from '../folder.ts'
import type { S3Place } from './peer.ts'

export interface S3Server {
  /** The processes that make it up. */
  readonly roots: readonly number[]
  readonly place: S3Place
}

/**
 * Starts a server of scripts/s3, by its name there, with its data in a new folder. What `onClose`
 * is given ends it, also when it has not come up.
 */
export async function startS3Server(
  name: string,
  directory: string,
  onClose: OnClose,
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
    place: {
      endpoint: url.origin,
      bucket: url.pathname.slice(1),
      accessKeyId: decodeURIComponent(url.username),
      secretAccessKey: decodeURIComponent(url.password),
    },
  }
}
