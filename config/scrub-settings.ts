import { z } from 'zod'
import { bytes, type Setting, wholeNumber } from './setting.ts'

/** How often the bytes of blobs are read to see that they are whole. */
export const SCRUB_SETTINGS = {
  'scrub.days': {
    schema: wholeNumber(0, 3650),
    standard: '30',
    text: 'Age at which what is known of a blob is too old: its bytes are read and compared with its digest again, spread over as many days; 0 for never.',
  },
  'scrub.bytesPerSecond': {
    schema: bytes.pipe(z.number().min(2 ** 16, 'expected at least 64K')),
    standard: '20M',
    text: 'Most bytes that are read for it in a second, by one process at a time.',
  },
} as const satisfies Record<string, Setting>
