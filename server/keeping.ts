import type { Config } from '../config/config.ts'
import type { KeepingTerms } from '../registry/keeping.ts'
import { RetentionRules } from '../registry/retention/rules.ts'

/** How long things stay that nothing names, as the configuration says. */
export function keepingOf(config: Config): KeepingTerms {
  const rules = new RetentionRules(config['retention.rules'])
  return {
    graceSeconds: config['gc.graceSeconds'],
    undoSeconds: config['gc.undoSeconds'],
    untagged: (repository) => rules.untagged(repository) ?? config['gc.untaggedSeconds'],
    blobSeconds: config['gc.blobSeconds'],
  }
}
