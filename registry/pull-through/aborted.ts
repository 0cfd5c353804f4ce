/** Waits for `change`, but not for longer than anybody wants the result. @throws the signal's reason */
export async function unlessAborted<T>(
  change: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return change
  signal.throwIfAborted()
  const over = new AbortController()
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { signal: over.signal })
  })
  try {
    return await Promise.race([change, aborted])
  } finally {
    over.abort()
  }
}
