import { programVersion } from '../version.ts'

export async function printVersion(): Promise<number> {
  process.stdout.write(`slipway ${programVersion()}, Node ${process.versions.node}\n`)
  return 0
}
