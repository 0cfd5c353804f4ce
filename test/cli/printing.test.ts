import { afterEach, beforeEach, expect, it, type MockInstance, vi } from 'vitest'
import { harmless, printFields, printJson, printTable } from '../../cli/printing.ts'

let written = ''
let spies: MockInstance[] = []

beforeEach(() => {
  written = ''
  const write = (chunk: unknown) => {
    written += String(chunk)
    return true
  }
  spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(write),
  )
})

afterEach(() => spies.forEach((spy) => spy.mockRestore()))

const ALL_CONTROLS = [...Array.from({ length: 32 }, (_, code) => code), 0x7f, 0x9b, 0x202e, 0x2028]
  .map((code) => String.fromCharCode(code))
  .join('')

it('what steers a terminal does not reach it', () => {
  expect(harmless(`a${ALL_CONTROLS}b`)).toMatch(/^a\uFFFD+b$/)
})

it('columns are as wide as their widest cell, and the last has no end', () => {
  printTable(
    ['NAME', 'DESCRIPTION'],
    [
      ['a', 'ä\u001b[31m'],
      ['abcdef', undefined],
      ['b', ''],
    ],
    'none',
  )
  expect(written).toBe('NAME    DESCRIPTION\na       ä\uFFFD[31m\nabcdef  -\nb       -\n')
})

it('an empty table says so', () => {
  printTable(['NAME'], [], 'there are no users')
  expect(written).toBe('there are no users\n')
})

it('fields show times in UTC, lists with spaces, and yes or no', () => {
  const at = new Date('2027-01-31T12:00:00.500Z')
  printFields({ at, some: ['a', 'b'], 'no or yes': false, none: [] })
  expect(written).toBe(
    'at         2027-01-31 12:00:00Z\nsome       a b\nno or yes  no\nnone       -\n',
  )
})

it('a document is one line, has every key, and means what it did', () => {
  const document = { name: ALL_CONTROLS, list: ['a'], missing: undefined }
  printJson(document)
  expect(written).toMatch(/^[\x20-\x7e]+\n$/)
  expect(JSON.parse(written)).toEqual({ ...document, missing: null })
})
