#!/usr/bin/env node
// Before any module loads: the thread pool takes its size at first use, and four threads
// would let a few waiting fsyncs hold up every other read and write.
process.env.UV_THREADPOOL_SIZE ??= '16'

import('../dist/cli/main.js').catch((error) => {
  process.stderr.write(`slipway: ${error.stack ?? error}\n`)
  process.exitCode = 1
})
