import { rmSync } from 'node:fs'
import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Takes what ends something that was started. */
export type OnClose = (close: () => Promise<void>) => void

/**
 * Does `work` in a new folder, which is removed when the program ends. What is given to `onClose` runs
 * afterwards, the last first; also when the program is told to end.
 */
export async function inFolder(
  name: string,
  work: (directory: string, onClose: OnClose) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), `slipway-${name}-`))
  // Postgres runs as another user when root starts it, who has to get in.
  await chmod(directory, 0o755)
  // Synchronous and last: while something still runs, another removal would race with its writes.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    for (let next = closers.pop(); next !== undefined; next = closers.pop()) await next()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)))
  }
  try {
    await work(directory, (closer) => closers.push(closer))
  } finally {
    await close()
  }
}
