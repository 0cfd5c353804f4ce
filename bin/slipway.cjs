#!/usr/bin/env -S node --initial-old-space-size=256
// The flag above: request bodies pass through memory that V8 counts as if it were objects, and a
// heap that is allowed to be small at first is marked through every 32 MiB of them. Without the
// flag everything works, and a push of large layers costs half as much CPU again.

// Before any module loads, because the thread pool takes its size at first use: four threads
// would let a few waiting fsyncs hold up every other read and write.
process.env.UV_THREADPOOL_SIZE ??= '16'

import('../dist/cli/main.js').catch((error) => {
  process.stderr.write(`slipway: ${error.stack ?? error}\n`)
  process.exitCode = 1
})
