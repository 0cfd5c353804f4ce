/*
 * What clients asked for and were told, and what may therefore be found. Requests overlap, and the
 * answer to some is lost: then several outcomes are right, and all others are faults.
 */
import { signedBy } from './contents.ts'

export type Effect = { readonly repository: string } & (
  | { readonly kind: 'push'; readonly digest: string; readonly tag: string | undefined }
  | { readonly kind: 'delete tag'; readonly tag: string }
  | { readonly kind: 'delete manifest'; readonly digest: string }
  | { readonly kind: 'delete blob'; readonly digest: string }
  | { readonly kind: 'delete repository' }
)

/** A request that changes something. One that was refused is taken back. */
export interface Deed {
  readonly effect: Effect
  readonly startedAt: number
  /** Infinity while it is under way, and for good when its answer was lost: it may come later. */
  endedAt: number
}

/** From when to when somebody looked, by `performance.now()`. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Something that makes a tag name `digest`, or nothing. */
interface Source {
  readonly digest: string | undefined
  readonly startedAt: number
  readonly endedAt: number
  /** Changes the tag only if it names this. */
  readonly only?: string
}

const ALWAYS = Number.NEGATIVE_INFINITY

/** Of one round: it begins with what a check found, and must end with what the next one finds. */
export class Ledger {
  readonly #deeds = new Map<string, Set<Deed>>()
  /** By repository and tag, what was there when the round began. */
  readonly #tags: ReadonlyMap<string, string>
  /** Repository and digest of the referrers that were there. */
  readonly #referrers: ReadonlySet<string>
  /** Digests that list a digest. */
  readonly #parents: ReadonlyMap<string, readonly string[]>

  constructor(
    tags: ReadonlyMap<string, string>,
    referrers: ReadonlySet<string>,
    parents: ReadonlyMap<string, readonly string[]>,
  ) {
    this.#tags = tags
    this.#referrers = referrers
    this.#parents = parents
  }

  begin(effect: Effect): Deed {
    const deed = { effect, startedAt: performance.now(), endedAt: Number.POSITIVE_INFINITY }
    const deeds = this.#deeds.get(effect.repository) ?? new Set()
    this.#deeds.set(effect.repository, deeds.add(deed))
    return deed
  }

  /** It was done, and its answer has come. */
  done(deed: Deed): void {
    deed.endedAt = performance.now()
  }

  /** It had no effect. */
  refused(deed: Deed): void {
    this.#deeds.get(deed.effect.repository)?.delete(deed)
  }

  /** What somebody may find under the tag who looks in the span; undefined: nothing. */
  possible(repository: string, tag: string, span: Span): Set<string | undefined> {
    const sources = this.#sourcesOf(repository, tag).filter(({ startedAt }) => startedAt <= span.to)
    const digests = new Set(
      sources.filter((source) => !isOver(source, sources, span.from)).map(({ digest }) => digest),
    )
    if (this.#mayBeCollected(repository, tag, span)) digests.add(undefined)
    return digests
  }

  /** Whether some tag or index keeps the manifest throughout the span, whatever else happens. */
  isKept(repository: string, digest: string, span: Span): boolean {
    const isDeleted = this.#overlapping(repository, span).some(
      (effect) => effect.kind === 'delete manifest' && effect.digest === digest,
    )
    if (isDeleted) return false
    for (const tag of this.#tagsOf(repository, digest)) {
      const possible = this.possible(repository, tag, span)
      if (possible.size === 1 && possible.has(digest)) return true
    }
    const parents = this.#parents.get(digest) ?? []
    return parents.some((parent) => this.isKept(repository, parent, span))
  }

  /** Whether somebody has, or may have, taken the blob or manifest out of the repository then. */
  mayBeTaken(repository: string, digest: string, span: Span): boolean {
    return this.#overlapping(repository, span).some(
      (effect) =>
        effect.kind === 'delete repository' ||
        ((effect.kind === 'delete blob' || effect.kind === 'delete manifest') &&
          effect.digest === digest),
    )
  }

  /** Whether it is certain that the manifest was deleted before the span and not pushed again. */
  isGone(repository: string, digest: string, { from }: Span): boolean {
    const deeds = [...(this.#deeds.get(repository) ?? [])]
    const deletes = deeds.filter(
      ({ effect, endedAt }) =>
        endedAt < from &&
        (effect.kind === 'delete repository' ||
          (effect.kind === 'delete manifest' && effect.digest === digest)),
    )
    const last = Math.max(...deletes.map(({ startedAt }) => startedAt))
    const isPushed = ({ effect, endedAt }: Deed) =>
      effect.kind === 'push' && effect.digest === digest && endedAt > last
    return deletes.length > 0 && !deeds.some(isPushed)
  }

  /** Since when it was pushed for good; undefined: that cannot be said. */
  pushedSince(repository: string, digest: string): number | undefined {
    const pushes = this.#effects(repository, 'push')
      .filter(({ effect, endedAt }) => endedAt < Infinity && effect.digest === digest)
      .map(({ startedAt }) => startedAt)
    if (pushes.length > 0) return Math.max(...pushes)
    return this.#referrers.has(keyOf(repository, digest)) ? ALWAYS : undefined
  }

  /** Every tag that anything is known of. */
  tags(): { readonly repository: string; readonly tag: string }[] {
    const keys = new Set(this.#tags.keys())
    for (const [repository, deeds] of this.#deeds) {
      for (const { effect } of deeds) {
        if ('tag' in effect && effect.tag !== undefined) keys.add(keyOf(repository, effect.tag))
      }
    }
    return [...keys].map((key) => {
      const [repository = '', tag = ''] = key.split(' ')
      return { repository, tag }
    })
  }

  /**
   * A signature goes with its subject: when that may have been without anything that keeps it at
   * some time since the signature was pushed.
   */
  #mayBeCollected(repository: string, tag: string, { to }: Span): boolean {
    const subject = signedBy(tag)
    if (subject === undefined) return false
    const pushes = this.#effects(repository, 'push').filter(({ effect }) => effect.tag === tag)
    const first = this.#tags.has(keyOf(repository, tag))
      ? ALWAYS
      : Math.min(...pushes.map(({ startedAt }) => startedAt))
    return !this.isKept(repository, subject, { from: first, to })
  }

  #sourcesOf(repository: string, tag: string): Source[] {
    const start: Source = {
      digest: this.#tags.get(keyOf(repository, tag)),
      startedAt: ALWAYS,
      endedAt: ALWAYS,
    }
    const named = new Set([start.digest])
    const sources = [start]
    for (const { effect, startedAt, endedAt } of this.#deeds.get(repository) ?? []) {
      if (effect.kind === 'push' && effect.tag === tag) {
        named.add(effect.digest)
        sources.push({ digest: effect.digest, startedAt, endedAt })
      } else if (effect.kind === 'delete repository') {
        sources.push({ digest: undefined, startedAt, endedAt })
      } else if (effect.kind === 'delete tag' && effect.tag === tag) {
        sources.push({ digest: undefined, startedAt, endedAt })
      }
    }
    return [...sources, ...this.#deletedUnder(repository, sources)]
  }

  /** A manifest that is deleted takes the tag with it, if the tag names it then. */
  #deletedUnder(repository: string, sources: readonly Source[]): Source[] {
    return this.#effects(repository, 'delete manifest').flatMap(({ effect, ...times }) => {
      const mayNameIt = sources.some(
        (source) =>
          source.digest === effect.digest &&
          source.startedAt <= times.endedAt &&
          !isOver(source, sources, times.startedAt),
      )
      return mayNameIt ? [{ digest: undefined, only: effect.digest, ...times }] : []
    })
  }

  #tagsOf(repository: string, digest: string): Set<string> {
    const pushed = this.#effects(repository, 'push')
      .filter(({ effect }) => effect.digest === digest && effect.tag !== undefined)
      .map(({ effect }) => String(effect.tag))
    const before = [...this.#tags]
      .filter(([, named]) => named === digest)
      .map(([key]) => key.split(' '))
      .filter(([of]) => of === repository)
      .map(([, tag = '']) => tag)
    // A signature keeps what it is, not its subject; and it is not certain itself.
    return new Set([...pushed, ...before].filter((tag) => signedBy(tag) === undefined))
  }

  #overlapping(repository: string, { from, to }: Span): Effect[] {
    return [...(this.#deeds.get(repository) ?? [])]
      .filter(({ startedAt, endedAt }) => startedAt <= to && endedAt >= from)
      .map(({ effect }) => effect)
  }

  #effects<Kind extends Effect['kind']>(repository: string, kind: Kind) {
    type Found = Omit<Deed, 'effect'> & { readonly effect: Extract<Effect, { kind: Kind }> }
    const deeds = [...(this.#deeds.get(repository) ?? [])]
    return deeds.filter(({ effect }) => effect.kind === kind) as Found[]
  }
}

/** Whether it is certain that another one has come after the source, before `from`. */
function isOver(source: Source, sources: readonly Source[], from: number): boolean {
  return sources.some(
    ({ only, startedAt, endedAt }) =>
      endedAt < from &&
      startedAt > source.endedAt &&
      (only === undefined || only === source.digest),
  )
}

/** Neither a name nor a digest nor a tag has a space in it. */
export function keyOf(repository: string, what: string): string {
  return `${repository} ${what}`
}
