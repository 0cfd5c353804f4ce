import { describe, expect, it } from 'vitest'
import { anonymous, anyone, type Principal, stranger } from '../../../auth/principal.ts'
import { ACTIONS, type Action, type Coverage, type Grant } from '../../../auth/rules/grant.ts'
import { Policy } from '../../../auth/rules/policy.ts'
import { parseRepositoryName, parseTag } from '../../../oci/reference.ts'

let made = 0

function grant(subject: string, effect: Grant['effect'], coverage: Coverage): Grant {
  return { origin: `grant ${++made}`, subject, effect, ...coverage }
}

const ALICE: Principal = {
  subject: 'user:alice',
  subjects: ['user:alice', 'group:team', 'authenticated', 'everyone'],
  own: [],
  limit: undefined,
  admin: false,
}
const ADMIN: Principal = { ...ALICE, own: anyone.own, admin: true }

function may(grants: readonly Grant[], who: Principal, action: Action, image: string): boolean {
  const [name = '', tag] = image.split(':')
  const question = {
    repository: parseRepositoryName(name),
    action,
    tag: tag === undefined ? undefined : parseTag(tag),
  }
  return new Policy(grants).decide(who, question).allowed
}

function publicTo(subject: string): Grant[] {
  return [grant(subject, 'allow', { repositories: ['public/**'], actions: ['pull'] })]
}

describe('what somebody may do', () => {
  it('is nothing that no grant allows', () => {
    for (const action of ACTIONS) expect(may([], ALICE, action, 'team/app')).toBe(false)
  })

  it.each(['user:alice', 'group:team', 'authenticated', 'everyone'])(
    'follows from a grant for %s',
    (subject) => {
      const grants = [grant(subject, 'allow', { repositories: ['team/*'], actions: ['pull'] })]
      expect(may(grants, ALICE, 'pull', 'team/app')).toBe(true)
      expect(may(grants, ALICE, 'push', 'team/app')).toBe(false)
      expect(may(grants, ALICE, 'pull', 'other/app')).toBe(false)
    },
  )

  it.each(['user:bob', 'group:other', 'robot:alice', 'alice'])(
    'does not follow from a grant for %s',
    (subject) => {
      const grants = [grant(subject, 'allow', { repositories: ['**'], actions: ACTIONS })]
      expect(may(grants, ALICE, 'pull', 'team/app')).toBe(false)
    },
  )

  it('is the sum of all grants', () => {
    const grants = [
      grant('group:team', 'allow', { repositories: ['team/**'], actions: ['pull'] }),
      grant('user:alice', 'allow', { repositories: ['**/app'], actions: ['push'] }),
    ]
    expect(may(grants, ALICE, 'pull', 'team/app')).toBe(true)
    expect(may(grants, ALICE, 'push', 'team/app')).toBe(true)
    expect(may(grants, ALICE, 'push', 'team/other')).toBe(false)
  })

  it('is denied by one grant whatever others allow, in any order, and to administrators too', () => {
    const allow = grant('user:alice', 'allow', { repositories: ['**'], actions: ACTIONS })
    const deny = grant('everyone', 'deny', { repositories: ['team/*'], actions: ['delete'] })
    for (const grants of [
      [allow, deny],
      [deny, allow],
    ]) {
      expect(may(grants, ALICE, 'delete', 'team/app')).toBe(false)
      expect(may(grants, ADMIN, 'delete', 'team/app')).toBe(false)
      expect(may(grants, ALICE, 'delete', 'other/app')).toBe(true)
    }
  })

  it('is everything for an administrator whom nothing denies it', () => {
    for (const action of ACTIONS) expect(may([], ADMIN, action, 'team/app:v1')).toBe(true)
  })

  it('is little for anonymous: what is given to anonymous or to everyone', () => {
    expect(may(publicTo('anonymous'), anonymous, 'pull', 'public/app')).toBe(true)
    expect(may(publicTo('everyone'), anonymous, 'pull', 'public/app')).toBe(true)
    expect(may(publicTo('authenticated'), anonymous, 'pull', 'public/app')).toBe(false)
    expect(may(publicTo('anonymous'), ALICE, 'pull', 'public/app')).toBe(true)
  })

  it('is never more than the limit of a token, nor than its account may do', () => {
    const limit = [{ repositories: ['team/app'], actions: ['pull', 'push'] as const }]
    const narrowed = { ...ALICE, limit }
    const grants = [grant('user:alice', 'allow', { repositories: ['**'], actions: ['pull'] })]
    expect(may(grants, narrowed, 'pull', 'team/app')).toBe(true)
    expect(may(grants, narrowed, 'push', 'team/app')).toBe(false)
    expect(may(grants, narrowed, 'pull', 'team/other')).toBe(false)
    expect(may([], { ...ADMIN, limit }, 'delete', 'team/app')).toBe(false)
    expect(may([], { ...ADMIN, limit: [] }, 'pull', 'team/app')).toBe(false)
  })

  it('is for a stranger what it brings, less what is denied, and what everyone may do', () => {
    const ci = stranger('ci:github:x', [{ repositories: ['acme/app'], actions: ['pull', 'push'] }])
    const deny = grant('everyone', 'deny', {
      repositories: ['**'],
      tags: ['v*'],
      actions: ['push'],
    })
    expect(may([], ci, 'push', 'acme/app')).toBe(true)
    expect(may([], ci, 'push', 'acme/other')).toBe(false)
    expect(may([deny], ci, 'push', 'acme/app:v1')).toBe(false)
    expect(may([deny], ci, 'push', 'acme/app:latest')).toBe(true)
  })
})

describe('a grant with tags', () => {
  const allow = grant('user:alice', 'allow', {
    repositories: ['team/*'],
    tags: ['ci-*'],
    actions: ['pull', 'push'],
  })
  const deny = grant('everyone', 'deny', {
    repositories: ['**'],
    tags: ['v*', 'release-*'],
    actions: ['overwrite', 'delete'],
  })

  it('allows those tags, and what names no tag, for tags are of no use without', () => {
    expect(may([allow], ALICE, 'push', 'team/app:ci-1')).toBe(true)
    expect(may([allow], ALICE, 'push', 'team/app:latest')).toBe(false)
    expect(may([allow], ALICE, 'push', 'team/app')).toBe(true)
  })

  it('denies those tags and nothing else', () => {
    expect(may([deny], ADMIN, 'overwrite', 'team/app:v1')).toBe(false)
    expect(may([deny], ADMIN, 'delete', 'team/app:release-1')).toBe(false)
    expect(may([deny], ADMIN, 'overwrite', 'team/app:latest')).toBe(true)
    expect(may([deny], ADMIN, 'push', 'team/app:v1')).toBe(true)
    expect(may([deny], ADMIN, 'delete', 'team/app')).toBe(true)
  })
})

describe('what names no tag and touches them all', () => {
  it('is not allowed by a grant with tags', () => {
    const limited = grant('user:alice', 'allow', {
      repositories: ['**'],
      tags: ['dev-*'],
      actions: ['delete'],
    })
    const whole = grant('user:alice', 'allow', { repositories: ['a/*'], actions: ['delete'] })
    const policy = new Policy([limited, whole])
    const ask = (name: string) => {
      const question = { repository: parseRepositoryName(name), action: 'delete' as const }
      return [
        policy.decide(ALICE, question).allowed,
        policy.decide(ALICE, { ...question, whole: true }).allowed,
      ]
    }
    expect(ask('b/x')).toEqual([true, false])
    expect(ask('a/x')).toEqual([true, true])
  })
})

describe('what anonymous is denied', () => {
  it('is denied to nobody who logs in', () => {
    const deny = grant('anonymous', 'deny', { repositories: ['**'], actions: ['pull'] })
    const allow = grant('everyone', 'allow', { repositories: ['**'], actions: ['pull'] })
    expect(may([deny, allow], anonymous, 'pull', 'a')).toBe(false)
    expect(may([deny, allow], ALICE, 'pull', 'a')).toBe(true)
  })
})

describe('a decision', () => {
  it('names the grant that decided, and one that denies before one that allows', () => {
    const allow = grant('user:alice', 'allow', { repositories: ['**'], actions: ['pull'] })
    const deny = grant('group:team', 'deny', { repositories: ['x/*'], actions: ['pull'] })
    const policy = new Policy([allow, deny])
    const ask = (name: string) =>
      policy.decide(ALICE, { repository: parseRepositoryName(name), action: 'pull' })
    expect(ask('a/b')).toEqual({ allowed: true, grant: allow, reason: 'grant' })
    expect(ask('x/b')).toEqual({ allowed: false, grant: deny, reason: 'grant' })
  })
})

describe('what may be listed', () => {
  it('is what may be pulled: allowed, not denied, within the limit', () => {
    const policy = new Policy([
      grant('user:alice', 'allow', { repositories: ['a/*', 'b'], actions: ['pull'] }),
      grant('user:alice', 'allow', { repositories: ['pushed'], actions: ['push'] }),
      grant('everyone', 'deny', { repositories: ['a/secret'], actions: ['pull'] }),
      grant('everyone', 'deny', { repositories: ['**'], tags: ['x'], actions: ['pull'] }),
    ])
    expect(policy.readable(ALICE)).toEqual({
      allow: ['a/*', 'b'],
      deny: ['a/secret'],
      within: undefined,
    })
    const limit = [{ repositories: ['a/x'], actions: ['pull'] as const }]
    expect(policy.readable({ ...ALICE, limit }).within).toEqual(['a/x'])
    expect(policy.readable(ADMIN).allow).toEqual(['**', 'a/*', 'b'])
  })
})
