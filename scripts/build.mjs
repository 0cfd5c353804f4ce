// Compiles the sources to dist/ and puts the migrations beside their runner.
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
})
for (const file of readdirSync('migrations').filter((name) => name.endsWith('.sql'))) {
  cpSync(`migrations/${file}`, `dist/migrations/${file}`)
}
