// npm leaves an optional package out of the lock file when the registry at hand does not have it,
// as partial mirrors do for other platforms' binaries; `npm ci` then refuses the lock file as
// out of date. This adds what is missing, from the packages that name it. Run it after an
// `npm install` behind such a mirror.
import { readFileSync, writeFileSync } from 'node:fs'

const SYSTEMS =
  /(?:^|[-/])(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)(?=-|$)/
const PROCESSORS = /-(arm64|x64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|wasm32)(?=-|$)/

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const { packages } = lock
let added = 0
for (const [place, entry] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const [nested, top] = [`${place}/node_modules/${name}`, `node_modules/${name}`]
    if (packages[nested] !== undefined || packages[top] !== undefined) continue
    const system = SYSTEMS.exec(name)?.[1]
    const processor = PROCESSORS.exec(name)?.[1]
    packages[top] = {
      version,
      ...(processor === undefined ? {} : { cpu: [processor] }),
      ...(entry.dev === true ? { dev: true } : {}),
      optional: true,
      ...(system === undefined ? {} : { os: [system] }),
    }
    added++
  }
}
lock.packages = Object.fromEntries(
  Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)),
)
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} added\n`)
