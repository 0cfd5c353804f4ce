import { createHash } from 'node:crypto'
import { compileGlob, patternOf } from '../../oci/glob.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'

/** What stays and what goes. Globs: `*` within a component, `**` across; spans in seconds. */
export interface RetentionRule {
  readonly name: string
  readonly repositories: readonly string[]
  readonly exceptRepositories: readonly string[]
  readonly tags: readonly string[]
  readonly exceptTags: readonly string[]
  /** Undefined: nothing. */
  readonly delete?: 'always' | DeleteConditions | undefined
  readonly keep?: KeepReasons | undefined
  /** How long manifests stay that nothing names. */
  readonly untagged?: 'keep' | number | undefined
}

/** All that are given have to hold; one is. */
interface DeleteConditions {
  /** Since the last push of the tag. */
  readonly olderThan?: number | undefined
  /** Since the last pull of its manifest, or the last push of the tag if that was later. */
  readonly notPulledFor?: number | undefined
  /** So many tags of the rule were pushed later. */
  readonly notNewest?: number | undefined
}

/** Each of them keeps, whatever any rule deletes. */
interface KeepReasons {
  /** Of the tags that the rule is about, those pushed last. */
  readonly newest?: number | undefined
  /** Of all tags in the repositories that the rule covers. */
  readonly tags?: readonly string[] | undefined
  readonly pulledWithin?: number | undefined
  readonly pushedWithin?: number | undefined
}

/** A rule, ready to be asked. */
export interface CompiledRule extends RetentionRule {
  readonly isAbout: (tag: string) => boolean
  readonly keepsTag: (tag: string) => boolean
  /** What has to be known of the order of pushes; undefined: nothing. */
  readonly ranked: Ranked | undefined
}

interface Ranked {
  /** Regular expressions of Postgres, of the tags that count and of those that do not. */
  readonly among: string
  readonly except: readonly string[]
  /** The newest that matter. */
  readonly limit: number
}

/** As Cosign and clients without referrers name what belongs to a digest. */
const FALLBACK_TAG = /^sha256-[0-9a-f]{64}(?:\..+)?$/

/** Whether the tag stands for something that belongs to a manifest, and follows it. */
export function isFallbackTag(tag: Tag): boolean {
  return FALLBACK_TAG.test(tag)
}

/** All rules, in their order. */
export class RetentionRules {
  /** The same of the same rules, and of no others. */
  readonly fingerprint: string
  readonly #rules: readonly (CompiledRule & { readonly covers: (name: string) => boolean })[]

  constructor(rules: readonly RetentionRule[]) {
    this.fingerprint = createHash('sha256').update(JSON.stringify(rules)).digest('hex')
    this.#rules = rules.map((rule) => ({
      ...compile(rule),
      covers: except(matcherOf(rule.repositories), matcherOf(rule.exceptRepositories)),
    }))
  }

  /** Whether any of them deletes anything anywhere. */
  get deletes(): boolean {
    return this.#rules.some((rule) => rule.delete !== undefined)
  }

  /** Those that cover the repository. */
  of(repository: RepositoryName): readonly CompiledRule[] {
    return this.#rules.filter(({ covers }) => covers(repository))
  }

  /** Seconds for which a manifest stays that nothing names; undefined: no rule says. */
  untagged(repository: RepositoryName): number | 'always' | undefined {
    const rule = this.#rules.find((each) => each.untagged !== undefined && each.covers(repository))
    return rule?.untagged === 'keep' ? 'always' : rule?.untagged
  }
}

function compile(rule: RetentionRule): CompiledRule {
  const { newest = 0 } = rule.keep ?? {}
  const { notNewest = 0 } = typeof rule.delete === 'object' ? rule.delete : {}
  const limit = Math.max(newest, notNewest)
  const others = rule.exceptTags.length === 0 ? [] : [patternOf(rule.exceptTags)]
  return {
    ...rule,
    isAbout: except(matcherOf(rule.tags), matcherOf(rule.exceptTags)),
    keepsTag: matcherOf(rule.keep?.tags ?? []),
    ranked:
      limit === 0
        ? undefined
        : { among: patternOf(rule.tags), except: [FALLBACK_TAG.source, ...others], limit },
  }
}

type Matches = (name: string) => boolean

function matcherOf(globs: readonly string[]): Matches {
  const matchers = globs.map(compileGlob)
  return (name) => matchers.some((matches) => matches(name))
}

function except(matches: Matches, others: Matches): Matches {
  return (name) => matches(name) && !others(name)
}
