import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { dockerRegistry } from '../../../bench/peers/docker-registry.ts'
import { plainSetup } from '../../../bench/peers/peer.ts'

const REASON = "docker-registry is not installed; it is Debian's package of that name"

/** A registry that others wrote: version 2.8 of CNCF Distribution, open to everybody. */
export interface ForeignRegistry {
  readonly url: string
  close(this: void): Promise<void>
}

/** On a free port, over a folder of its own. */
export async function openDockerRegistry(): Promise<ForeignRegistry> {
  const directory = await mkdtemp(path.join(tmpdir(), 'docker-registry-'))
  const removed = () => rm(directory, { recursive: true, force: true })
  const settings = { directory, setup: plainSetup, profileDirectory: undefined }
  try {
    const { port, stop } = await dockerRegistry.start(settings)
    return {
      url: `http://127.0.0.1:${port}`,
      close: async () => {
        await stop()
        await removed()
      },
    }
  } catch (error) {
    await removed()
    throw error
  }
}

/**
 * Skips the suite when the program is not installed; with CI set that is a failure, for green must
 * mean run.
 */
export function describeWithDockerRegistry(name: string, body: () => void): void {
  const isMissing = !isInstalled()
  const isSkipped = isMissing && !process.env['CI']
  describe.skipIf(isSkipped)(`${name}${isSkipped ? ` (skipped: ${REASON})` : ''}`, () => {
    if (isMissing) failForLackOfIt()
    else body()
  })
}

function failForLackOfIt(): void {
  it('has a docker-registry to run with', () => {
    expect.fail(`cannot run: ${REASON}`)
  })
}

function isInstalled(): boolean {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter)
  return folders.some((folder) => {
    try {
      accessSync(path.join(folder, 'docker-registry'), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
