/** Entry of the load generator's process: job in, `ready` out, `go` in, the seconds out. */
import { once } from 'node:events'
import type { LoadMessage } from './load.ts'
import { type Job, prepareLoad } from './loads.ts'

const [job] = (await once(process, 'message')) as [Job]
try {
  const load = await prepareLoad(job)
  const go = once(process, 'message')
  send({ kind: 'ready' })
  await go
  const started = performance.now()
  const findings = await load()
  const seconds = (performance.now() - started) / 1000
  send({ kind: 'done', result: { seconds, ...findings } })
} catch (error) {
  send({ kind: 'failed', reason: `${job.kind}: ${String(error)}` })
}
// Without the channel and with all requests answered, open connections must not keep it alive.
process.disconnect()
process.exit()

function send(message: LoadMessage): void {
  process.send?.(message)
}
