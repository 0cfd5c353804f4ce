import { lockDirectory } from '../../postgres/directory-lock.ts'

await lockDirectory(process.argv[2] ?? '')
console.log('locked')
setInterval(() => {}, 1_000)
