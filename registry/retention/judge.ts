import type { Tag } from '../../oci/reference.ts'
import { type CompiledRule, isFallbackTag } from './rules.ts'

/** What is known of a tag that is to be judged. */
export interface TagFacts {
  readonly tag: Tag
  readonly pushedAt: Date
  /** Of its manifest; null: never, as far as is known. */
  readonly pulledAt: Date | null
  readonly isLeased: boolean
  /** Everybody is denied to delete it. */
  readonly isProtected: boolean
  /** 1 for the newest of the tags that the rule is about; undefined: none of those that matter. */
  readonly rankIn: (rule: CompiledRule) => number | undefined
}

export interface Verdict {
  readonly deletes: boolean
  /** The one that decided; undefined when none did. */
  readonly rule: string | undefined
  readonly reason: string
  /** Whether a rule deletes it, be it that another keeps it. */
  readonly isNamed: boolean
}

/**
 * What the rules that cover its repository say of a tag: it goes when one of them deletes it and
 * nothing keeps it. Their order decides only which one is told.
 */
export function judge(facts: TagFacts, rules: readonly CompiledRule[], now: Date): Verdict {
  if (isFallbackTag(facts.tag)) return untouched('follows what it belongs to')
  const ages = agesOf(facts, now)
  const deleting = firstOf(rules, (rule) => deletionBy(rule, facts, ages))
  if (deleting === undefined) return untouched('no rule deletes it')
  const kept = { deletes: false, isNamed: true }
  if (facts.isLeased) return { ...kept, rule: undefined, reason: 'a lease keeps what it names' }
  if (facts.isProtected) {
    return { ...kept, rule: undefined, reason: 'everyone is denied to delete it' }
  }
  const keeping = firstOf(rules, (rule) => keepingBy(rule, facts, ages))
  if (keeping !== undefined) return { ...kept, ...keeping }
  return { deletes: true, isNamed: true, ...deleting }
}

function untouched(reason: string): Verdict {
  return { deletes: false, rule: undefined, reason, isNamed: false }
}

function firstOf(
  rules: readonly CompiledRule[],
  reasonOf: (rule: CompiledRule) => string | undefined,
): { readonly rule: string; readonly reason: string } | undefined {
  for (const rule of rules) {
    const reason = reasonOf(rule)
    if (reason !== undefined) return { rule: rule.name, reason }
  }
  return undefined
}

/** In seconds. */
interface Ages {
  readonly pushed: number
  /** Infinity: never pulled. */
  readonly pulled: number
}

function agesOf({ pushedAt, pulledAt }: TagFacts, now: Date): Ages {
  const since = (at: Date) => (now.getTime() - at.getTime()) / 1000
  return {
    pushed: since(pushedAt),
    pulled: pulledAt === null ? Number.POSITIVE_INFINITY : since(pulledAt),
  }
}

function deletionBy(rule: CompiledRule, facts: TagFacts, ages: Ages): string | undefined {
  if (rule.delete === undefined || !rule.isAbout(facts.tag)) return undefined
  if (rule.delete === 'always') return 'always'
  const { olderThan, notPulledFor, notNewest } = rule.delete
  const reasons: string[] = []
  if (olderThan !== undefined) {
    if (ages.pushed <= olderThan) return undefined
    reasons.push(`pushed ${agoOf(ages.pushed)}`)
  }
  if (notPulledFor !== undefined) {
    // Who has pushed it may want to pull it: it is as good as pulled then.
    if (Math.min(ages.pulled, ages.pushed) <= notPulledFor) return undefined
    reasons.push(ages.pulled === Number.POSITIVE_INFINITY ? 'never pulled' : pulledOf(ages))
  }
  if (notNewest !== undefined) {
    if ((facts.rankIn(rule) ?? Number.POSITIVE_INFINITY) <= notNewest) return undefined
    reasons.push(`not one of the ${notNewest} newest`)
  }
  return reasons.length === 0 ? undefined : reasons.join(', ')
}

function keepingBy(rule: CompiledRule, facts: TagFacts, ages: Ages): string | undefined {
  if (rule.keep === undefined) return undefined
  if (rule.keepsTag(facts.tag)) return 'by its name'
  if (!rule.isAbout(facts.tag)) return undefined
  const { newest, pulledWithin, pushedWithin } = rule.keep
  if (newest !== undefined && (facts.rankIn(rule) ?? Number.POSITIVE_INFINITY) <= newest) {
    return `one of the ${newest} newest`
  }
  if (pulledWithin !== undefined && ages.pulled <= pulledWithin) return pulledOf(ages)
  if (pushedWithin !== undefined && ages.pushed <= pushedWithin) {
    return `pushed ${agoOf(ages.pushed)}`
  }
  return undefined
}

function pulledOf({ pulled }: Ages): string {
  return `pulled ${agoOf(pulled)}`
}

/** `3 days ago` */
function agoOf(seconds: number): string {
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? [60, 'minute']
  const count = Math.max(0, Math.floor(seconds / size))
  return `${count} ${unit}${count === 1 ? '' : 's'} ago`
}

const UNITS: readonly (readonly [number, string])[] = [
  [86_400, 'day'],
  [3600, 'hour'],
]
