import { defineConfig } from 'vitest/config'

/** They cut connections, kill servers and look at the clock: by themselves, as they mostly wait for it. */
const OUTAGES = ['test/durability/**/*.test.ts', 'test/s3/**/*.test.ts']
/** They go by leases of seconds, which a busy machine lets run out: with the machine to themselves. */
const LEASES = ['test/durability/replicas.test.ts', 'test/durability/revocation.test.ts']

export default defineConfig({
  test: {
    pool: 'threads',
    isolate: false,
    globalSetup: 'test/support/global-setup.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // As bin/slipway.cjs does it.
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    projects: [
      {
        extends: true,
        test: {
          name: 'most',
          include: ['test/**/*.test.ts'],
          exclude: [...OUTAGES, 'test/e2e/**'],
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'outages',
          include: OUTAGES,
          exclude: LEASES,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'leases',
          include: LEASES,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
