import { type Setting, seconds, wholeNumber } from './setting.ts'

const YEARS = 10 * 365 * 86_400

/** When what nobody needs any more goes. */
export const GC_SETTINGS = {
  'gc.undoSeconds': {
    schema: wholeNumber(0, YEARS),
    standard: '604800',
    text: 'How long a tag, a manifest or a repository that was deleted, and what a moved tag named before, can be restored. Until then no space is freed.',
  },
  'gc.untaggedSeconds': {
    schema: wholeNumber(0, YEARS),
    standard: '86400',
    text: 'How long a manifest stays that no tag, index or subject names, counted from its push. Rules under `retention` may say otherwise.',
  },
  'gc.graceSeconds': {
    schema: wholeNumber(0, YEARS),
    standard: '86400',
    text: 'How long a blob stays that was uploaded or mounted, or of which a pushing client was told that it is there, until a manifest names it. 0 is for tests: pushes may then have to be repeated.',
  },
  'gc.blobSeconds': {
    schema: wholeNumber(0, YEARS),
    standard: '900',
    text: 'How long a blob stays after the last manifest that named it.',
  },
  'gc.intervalSeconds': {
    schema: wholeNumber(1, 3600),
    standard: '10',
    text: 'How often each process looks for garbage that is due.',
  },
  'gc.sweepSeconds': {
    schema: seconds,
    standard: '86400',
    text: 'How often everything is gone through for garbage that was missed, by one process at a time.',
  },
} as const satisfies Record<string, Setting>
