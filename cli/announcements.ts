import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessControl } from '../auth/access-control.ts'
import { Changes, type ChangesOptions, SETTLE_MS } from '../storage/metadata/changes.ts'
import { remark } from './printing.ts'

/**
 * How a command tells the servers on its database what it changed. It is gone too soon to learn
 * who they are, so it does not collect their receipts: it waits for as long as a server may go by
 * what it has not heard is over.
 */
export function announcements(
  options: Omit<ChangesOptions, 'id'>,
): NonNullable<AccessControl['changes']> {
  // Not started: it speaks, and does not listen.
  const changes = new Changes({ ...options, id: randomUUID() })
  return {
    announcing: (work) => changes.announcing(work),
    settling: async (work) => {
      const result = await changes.announcing(work)
      remark('waiting until every server has heard of it …')
      await sleep(SETTLE_MS)
      return result
    },
  }
}
