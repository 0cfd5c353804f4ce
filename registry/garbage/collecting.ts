import type { Registry } from '../registry.ts'
import type { Revoking } from '../revocation.ts'

/** What it takes to collect, which commands have as well. */
export type Collecting = Revoking & Pick<Registry, 'blobs' | 'keeping' | 'log' | 'faultPoint'>
