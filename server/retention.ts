import type { AccessControl } from '../auth/access-control.ts'
import { anyone } from '../auth/principal.ts'
import type { Config } from '../config/config.ts'
import type { Protects, Retention } from '../registry/retention/retention.ts'
import { RetentionRules } from '../registry/retention/rules.ts'

/** Builds what says which tags go by themselves. */
export function openRetention(config: Config, control: Pick<AccessControl, 'records'>): Retention {
  return {
    rules: new RetentionRules(config['retention.rules']),
    protection: () => protectionOf(control),
    ignoresPullsOf: new Set(config['retention.ignorePullsOf']),
  }
}

/** Who may do everything that is not denied to everyone. */
const EVERYONE = { ...anyone, subjects: ['everyone'] }

/** Whether a tag is denied to everyone to be deleted, by the rules of access as they are now. */
export async function protectionOf({ records }: Pick<AccessControl, 'records'>): Promise<Protects> {
  await records.refresh()
  const policy = await records.policy()
  return (repository, tag) =>
    !policy.decide(EVERYONE, { repository, action: 'delete', tag }).allowed
}
