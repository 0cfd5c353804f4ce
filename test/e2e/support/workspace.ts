import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface Workspace {
  readonly directory: string
  /** Makes a new folder in the workspace; the names of one workspace are its own. */
  folder(this: void, name: string): Promise<string>
  /** Runs when the workspace is closed, the latest first. */
  onClose(this: void, close: () => Promise<void>): void
  /** Ends all that was started in the workspace, then removes its files. */
  close(this: void): Promise<void>
}

/** A temporary folder together with the processes that live in it. */
export async function openWorkspace(): Promise<Workspace> {
  // Short: the path of a unix socket below it may have 107 bytes.
  const directory = await mkdtemp(path.join(tmpdir(), 'e2e-'))
  // Started as root, the server runs its database as another user, who has to get through here.
  await chmod(directory, 0o711)
  const closers: (() => Promise<void>)[] = []
  return {
    directory,
    folder: async (name) => {
      const folder = path.join(directory, name)
      await mkdir(folder)
      return folder
    },
    onClose: (close) => closers.push(close),
    close: async () => {
      const failures: unknown[] = []
      for (const close of closers.toReversed()) {
        await close().catch((error: unknown) => failures.push(error))
      }
      await rm(directory, { recursive: true, force: true, maxRetries: 3 })
      if (failures.length > 0) throw new AggregateError(failures, 'not all ended well')
    },
  }
}
