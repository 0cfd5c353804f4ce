/** Entry of a process that fills: job in, and its end is the answer. */
import { once } from 'node:events'
import type { FillJob } from './fill.ts'
import { fillDockerRegistry } from './fill-docker-registry.ts'
import { fillSlipway } from './fill-slipway.ts'

const [job] = (await once(process, 'message')) as [FillJob]
// Whoever wants it has ended.
process.once('disconnect', () => process.exit(1))
const fill = job.kind === 'slipway' ? fillSlipway : fillDockerRegistry
await fill(job.directory, job.first, job.end)
process.exit()
