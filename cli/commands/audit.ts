import { type AuditFilter, getAuditEvents, type StoredAuditEvent } from '../../auth/audit-pages.ts'
import { withAccess } from '../access.ts'
import { JSON_SWITCH, LIMIT, limitOf } from '../flags.ts'
import { printJson, printTable } from '../printing.ts'
import { parseMoment } from '../times.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const PAGE = 1000
const RESULTS = ['done', 'denied', 'failed'] as const
const WHEN = '24h ago as 24h, or a date such as 2027-01-31, in UTC.'

export const AUDIT_COMMAND: Command = {
  name: 'audit list',
  text: 'list what was done, the latest first',
  settings: 'taken',
  switches: JSON_SWITCH,
  values: {
    actor: { value: 'SUBJECT', text: 'Who did it, such as user:alice.' },
    action: { value: 'ACTION', text: 'What was done, such as push, login or user.add.' },
    repository: { value: 'NAME', text: 'With which repository.' },
    result: { value: 'RESULT', text: `How it ended: ${RESULTS.join(', ')}.` },
    address: { value: 'IP', text: 'From where.' },
    since: { value: 'WHEN', text: `Not before: ${WHEN}` },
    until: { value: 'WHEN', text: `Before: ${WHEN}` },
    ...LIMIT,
  },
  run,
}

async function run(options: CommandOptions): Promise<number> {
  const filter = filterOf(options)
  const limit = limitOf(options)
  await withAccess(options, async ({ control }) => {
    const events: StoredAuditEvent[] = []
    for (let left = limit, before = ''; left > 0; ) {
      const page = await getAuditEvents(control, filter, { before, limit: Math.min(left, PAGE) })
      if (options.switches.has('json')) page.forEach(printJson)
      else events.push(...page)
      left = page.length < PAGE ? 0 : left - page.length
      before = page.at(-1)?.id ?? ''
    }
    if (!options.switches.has('json')) printEvents(events)
  })
  return 0
}

function printEvents(events: readonly StoredAuditEvent[]): void {
  printTable(
    ['TIME', 'ACTOR', 'ACTION', 'REPOSITORY', 'TARGET', 'RESULT', 'ADDRESS', 'DETAIL'],
    events.map((event) => [
      event.at,
      event.actor ?? 'anonymous',
      event.action,
      event.repository,
      event.target,
      event.result,
      event.address,
      event.detail,
    ]),
    'there are no such events',
  )
}

function filterOf({ values }: CommandOptions): AuditFilter {
  return {
    actor: values['actor'],
    action: values['action'],
    repository: values['repository'],
    result: parseResult(values['result']),
    address: values['address'],
    since: momentOf(values['since']),
    until: momentOf(values['until']),
  }
}

function momentOf(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : parseMoment(text)
}

function parseResult(text: string | undefined): AuditFilter['result'] {
  const result = RESULTS.find((each) => each === text)
  if (text === undefined || result !== undefined) return result
  throw new UsageError(`--result ${text}: expected ${RESULTS.join(', ')}`)
}
