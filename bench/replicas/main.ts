/**
 * What one, two and three replicas do behind nginx, on one database and one S3 server, all on
 * this machine with the client. The replicas run all the time; nginx has one port for each number.
 */
import { mkdir } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import path from 'node:path'
import { requireSpace } from '../environment.ts'
import { inFolder, type OnClose } from '../folder.ts'
import { type Measurement, measureRound, warmUp } from './measurements.ts'
import { type Options, parseOptions } from './options.ts'
import { mostReplicas, openStage } from './stage.ts'
import { type Row, tableOf } from './table.ts'

const counts = Array.from({ length: mostReplicas }, (_, index) => index + 1)

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

function main(options: Options): Promise<void> {
  return inFolder('bench-replicas', (directory, onClose) => measureAll(directory, options, onClose))
}

async function measureAll(
  directory: string,
  { s3, rounds, scale }: Options,
  onClose: OnClose,
): Promise<void> {
  await requireSpace(directory, scale.layers * scale.layerBytes * (rounds * 3 + 2) + 4 * 2 ** 30)
  const stage = await openStage(directory, s3, onClose)
  const client = path.join(directory, 'client')
  await mkdir(client)
  const images = await warmUp(stage, client)

  const found: { replicas: number; measurement: Measurement }[] = []
  for (let round = 0; round < rounds; round++) {
    // Each number comes first, second and last, for machines get slower and faster.
    for (const index of counts.keys()) {
      const replicas = ((index + round) % mostReplicas) + 1
      console.error(`round ${round + 1}, replicas: ${replicas}`)
      const setting = { stage, scale, replicas, round: String(round), images, directory: client }
      for (const measurement of await measureRound(setting)) found.push({ replicas, measurement })
    }
  }
  console.log(tableOf(rowsOf(found)))
  console.log(
    `\nMedians of ${rounds} rounds (least–largest). ${cpus().length} cores of ` +
      `${cpus()[0]?.model.trim() ?? 'unknown make'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
      `Node ${process.version}, S3 by ${s3}. The client runs on the same machine.`,
  )
}

/** By what was measured, and within it by the number of replicas. */
function rowsOf(found: readonly { replicas: number; measurement: Measurement }[]): Row[] {
  const kinds = [...new Set(found.map(({ measurement }) => measurement.what))]
  return kinds.flatMap((what) =>
    counts.map((replicas) => ({
      replicas,
      rounds: found
        .filter((each) => each.replicas === replicas && each.measurement.what === what)
        .map(({ measurement }) => measurement),
    })),
  )
}
