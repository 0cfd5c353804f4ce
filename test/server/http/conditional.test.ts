import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import {
  entityTag,
  isNotModified,
  namesDigest,
  precondition,
} from '../../../server/http/conditional.ts'

const mine = digestOf(Buffer.from('mine'))
const other = digestOf(Buffer.from('other'))

describe('a list of entity tags', () => {
  it.each([
    `"${mine}"`,
    mine,
    `W/"${mine}"`,
    `W/${mine}`,
    '*',
    ` "${mine}" `,
    `"${other}", "${mine}"`,
    `${other},${mine}`,
    `"x",*`,
  ])('%s names the content', (header) => {
    expect(namesDigest(header, mine)).toBe(true)
  })

  it.each(['', '""', ',', `"${other}"`, mine.slice(0, -1), `${mine}0`, mine.toUpperCase(), 'W/'])(
    '%j does not',
    (header) => {
      expect(namesDigest(header, mine)).toBe(false)
    },
  )

  it('never names what is not there', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constant('*'), fc.constant('')), (header) => {
        expect(namesDigest(header, undefined)).toBe(false)
      }),
    )
  })

  it('names the content by its own entity tag', () => {
    expect(namesDigest(entityTag(mine), mine)).toBe(true)
    expect(entityTag(mine)).toBe(`"${mine}"`)
  })
})

it('content is not modified for a client that has it', () => {
  expect(isNotModified({}, mine)).toBe(false)
  expect(isNotModified({ 'if-none-match': entityTag(mine) }, mine)).toBe(true)
  expect(isNotModified({ 'if-none-match': entityTag(other) }, mine)).toBe(false)
})

describe('the precondition of a write', () => {
  it('is absent without a header', () => {
    expect(precondition({})).toBeUndefined()
  })

  it.each([
    [{ 'if-none-match': '*' }, undefined, true],
    [{ 'if-none-match': '*' }, mine, false],
    [{ 'if-none-match': entityTag(mine) }, mine, false],
    [{ 'if-none-match': entityTag(mine) }, other, true],
    [{ 'if-match': '*' }, undefined, false],
    [{ 'if-match': '*' }, mine, true],
    [{ 'if-match': entityTag(mine) }, mine, true],
    [{ 'if-match': entityTag(mine) }, other, false],
    [{ 'if-match': entityTag(mine) }, undefined, false],
    [{ 'if-match': '*', 'if-none-match': entityTag(mine) }, mine, false],
    [{ 'if-match': '*', 'if-none-match': entityTag(mine) }, other, true],
  ])('%j over %s holds: %s', (headers, current, holds) => {
    expect(precondition(headers)?.(current)).toBe(holds)
  })
})
