/**
 * Uses one server as it is installed, at a pace that it can keep up for ever, and looks whether its
 * memory and its descriptors stay as they are. Every answer is checked too.
 */
import { openWorkspace } from '../../test/durability/support/workspace.ts'
import { type Options, parseOptions } from './options.ts'
import { run } from './run.ts'
import { findingLine, summaryOf } from './table.ts'
import { judge } from './verdict.ts'

/** Of all answers: a busy machine may be late now and then. */
const MOST_UNAVAILABLE = 0.01

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  console.error(error)
  process.exitCode = 1
}
// What is left, such as a connection of a server that died, must not keep this from ending.
process.exit()

async function main(options: Options): Promise<void> {
  console.log(`seed ${options.seed}`)
  const workspace = await openWorkspace()
  try {
    const { report, samples } = await run(workspace, options)
    const findings = judge(samples)
    console.log(`\n${summaryOf(report, samples)}\n`)
    for (const finding of findings) console.log(findingLine(finding))
    const leaks = findings.filter(({ isLeak }) => isLeak)
    for (const { what } of leaks) console.error(`FAILED: a leak: ${what}`)
    if (report.violations > 0) console.error(`FAILED: ${report.violations} wrong answers`)
    const isAway = report.unavailable > report.requests * MOST_UNAVAILABLE
    if (isAway) console.error(`FAILED: ${report.unavailable} answers 503`)
    if (leaks.length > 0 || report.violations > 0 || isAway) process.exitCode = 1
  } finally {
    await workspace.close()
  }
}
