import { onTestFinished } from 'vitest'

interface Attempt {
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Undefined when it went well. */
  readonly error: unknown
}

export interface Repetition {
  /** Waits for what is under way, and gives what became of each. */
  end(this: void): Promise<readonly Attempt[]>
}

/** Does it again and again beside the rest of the test, also when it fails. */
export function repeat(work: (index: number) => Promise<void>): Repetition {
  const attempts: Attempt[] = []
  const ending = new AbortController()
  const run = async () => {
    while (!ending.signal.aborted) {
      const startedAt = Date.now()
      const error = await work(attempts.length).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      attempts.push({ startedAt, error })
    }
  }
  const running = run()
  const end = async () => {
    ending.abort()
    await running
    return attempts
  }
  onTestFinished(() => void end())
  return { end }
}
