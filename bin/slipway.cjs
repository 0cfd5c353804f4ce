#!/usr/bin/env -S node --initial-old-space-size=256 --max-semi-space-size=8
// The flags above: request bodies pass through memory that V8 counts as if it were objects. With a
// heap that may be small at first, all of it is marked after every 32 MiB of them: a push of large
// layers costs half as much CPU again. And bytes that are done with are given back after 16 MiB
// instead of 32, which is what many slow uploads at once hold. Everything works without the flags.

// Before any module loads, because the thread pool takes its size at first use: four threads
// would let a few waiting fsyncs hold up every other read and write.
process.env.UV_THREADPOOL_SIZE ??= '16'

// The SDK for S3 is pinned: that a later one will ask for a newer Node is no news for an operator.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

import('../dist/cli/main.js').catch((error) => {
  process.stderr.write(`slipway: ${error.stack ?? error}\n`)
  process.exitCode = 1
})
