/**
 * Counts inside a server, loaded into it by NODE_OPTIONS and by nothing but this bench. A signal
 * begins, the next one ends and writes what was found to `<folder>/<pid>-<turn>.json`.
 */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import path from 'node:path'
import { GCProfiler, getHeapStatistics } from 'node:v8'
import { Client } from 'pg'

const folder = process.env.BUDGET_FOLDER
const profiles = process.env.BUDGET_PROFILES
const signal = 'SIGUSR2'

let turn = 0
let running
const statements = new Map()

const query = Reflect.get(Client.prototype, 'query')
Client.prototype.query = function counted(...args) {
  if (running !== undefined) count(args[0])
  return Reflect.apply(query, this, args)
}

function count(statement) {
  const text = statement.text ?? String(statement)
  const name = statement.name ?? text.replaceAll(/\s+/g, ' ').slice(0, 60)
  statements.set(name, (statements.get(name) ?? 0) + 1)
}

process.on(signal, () => {
  const file = path.join(folder, `${process.pid}-${++turn}`)
  void (running === undefined ? begin() : finish(file)).then((found) =>
    writeFileSync(`${file}.json`, JSON.stringify(found)),
  )
})

async function begin() {
  statements.clear()
  const session = profiles === undefined ? undefined : await beginProfile()
  const collections = new GCProfiler()
  collections.start()
  running = { session, collections, before: usedBytes() }
  return {}
}

async function finish(file) {
  const { session, collections, before } = running
  running = undefined
  const after = usedBytes()
  const found = allocated(before, collections.stop().statistics, after)
  if (session !== undefined) await endProfile(session, file)
  return { ...found, statements: [...statements] }
}

/** The sum of what was added from the end of each collection to the beginning of the next. */
function allocated(before, collections, after) {
  let heapBytes = 0
  let externalBytes = 0
  let from = before
  for (const { beforeGC, afterGC } of collections) {
    const [start, end] = [usedOf(beforeGC.heapStatistics), usedOf(afterGC.heapStatistics)]
    heapBytes += start.heap - from.heap
    externalBytes += start.external - from.external
    from = end
  }
  heapBytes += after.heap - from.heap
  externalBytes += after.external - from.external
  const scavenges = collections.filter(({ gcType }) => gcType === 'Scavenge').length
  return { heapBytes, externalBytes, scavenges, otherCollections: collections.length - scavenges }
}

function usedBytes() {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
  return { heap, external }
}

function usedOf({ usedHeapSize: heap, externalMemory: external }) {
  return { heap, external }
}

async function beginProfile() {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: 200 })
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: 65_536,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  })
  await session.post('Profiler.start')
  return session
}

/** Where time went, and who allocated: what was freed meanwhile is among it. */
async function endProfile(session, file) {
  const cpu = await session.post('Profiler.stop')
  const heap = await session.post('HeapProfiler.stopSampling')
  const write = (kind, { profile }) =>
    writeFileSync(path.join(profiles, `${path.basename(file)}.${kind}`), JSON.stringify(profile))
  write('cpuprofile', cpu)
  write('heapprofile', heap)
  session.disconnect()
}
