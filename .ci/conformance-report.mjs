// Judges the report that the conformance suite prints: all checks ran and none failed.
//
//     node .ci/conformance-report.mjs REPORT
import { readFileSync } from 'node:fs'

const print = (text) => process.stdout.write(`${text}\n`)

const file = process.argv[2]
if (file === undefined) throw new Error('which report?')
const lines = readFileSync(file, 'utf8').split('\n')

// "  Pass..........................:        848"
const names = ['Pass', 'FAIL', 'Skip', 'Error', 'Disabled', 'Total']
const counts = new Map()
for (const line of lines) {
  const match = /^ {2}([A-Za-z]+)\.+: +(\d+)$/.exec(line)
  if (match !== null && names.includes(match[1])) counts.set(match[1], Number(match[2]))
}
const unknown = names.filter((name) => !counts.has(name))
if (unknown.length > 0) {
  print(`the report has no count of ${unknown.join(', ')}; it ends with:`)
  print(lines.slice(-30).join('\n'))
  process.exit(1)
}

// A check, its state, and the lines that say why: "   - registry returned status 202"
let shown = false
for (const line of lines) {
  const check = /^ *OCI Conformance Test.*: (\w+)$/.exec(line)
  if (check !== null) shown = check[1] === 'FAIL' || check[1] === 'Skip' || check[1] === 'Error'
  if (shown && (check !== null || /^ *- /.test(line))) print(line)
}

print(names.map((name) => `${counts.get(name)} ${name.toLowerCase()}`).join(', '))
const bad = ['FAIL', 'Skip', 'Error'].filter((name) => counts.get(name) > 0)
if (bad.length > 0 || counts.get('Pass') === 0) process.exit(1)
