import { describe, expect, it } from 'vitest'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import { answerJson, connect, listen, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const START = Date.parse('2026-11-21T10:00:00Z')

function pull(client: UpstreamClient) {
  return client.getManifest('a', LATEST, patiently())
}

describe('the failure of an upstream', () => {
  it.each([
    [400, 'invalid'],
    [401, 'denied'],
    [403, 'denied'],
    [404, 'unknown'],
    [406, 'invalid'],
    [408, 'unavailable'],
    [410, 'unknown'],
    [418, 'invalid'],
    [429, 'rate limited'],
    [500, 'unavailable'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [504, 'unavailable'],
    [201, 'invalid'],
    [304, 'invalid'],
  ] as const)('with status %i is of the kind %s', async (status, reason) => {
    const registry = await startServer((_, response) => response.writeHead(status).end())
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({ reason })
  })

  it.each([
    [
      { errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit' }] },
      'toomanyrequests: You have reached your pull rate limit',
    ],
    [{ errors: [{ code: 'DENIED' }, { code: 'OTHER' }] }, 'denied'],
    [{ errors: [{ message: 'only this' }] }, 'only this'],
    [{ details: 'as Docker says it' }, 'as Docker says it'],
    [
      { error: 'invalid_grant', error_description: 'as OAuth2 says it' },
      'invalid_grant: as OAuth2 says it',
    ],
    [{ errors: [{ message: 'a\r\nb\u001b[31mc\u0000dé' }] }, 'a b [31mc d'],
    [{ errors: [{ message: 'x'.repeat(1000) }] }, 'x'.repeat(200)],
    [{ errors: 'none' }, 'Too Many Requests'],
    [{ errors: [null] }, 'Too Many Requests'],
    [{ errors: [{ code: 7, message: {} }] }, 'Too Many Requests'],
    [[], 'Too Many Requests'],
    ['text', 'Too Many Requests'],
    [{ errors: [{ message: 'x'.repeat(70_000) }] }, 'Too Many Requests'],
  ])('says what it said: %#', async (body, said) => {
    const registry = await startServer((_, response) => answerJson(response, 429, body))
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({
      message: `up.test: 429 ${said}`,
    })
  })

  it('says the status when there is a page for people', async () => {
    const registry = await startServer((_, response) =>
      response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'),
    )
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({
      message: 'up.test: 502 Bad Gateway',
    })
  })

  it('says that nobody is there', async () => {
    const registry = await startServer((_, response) => response.end())
    await registry.close()
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: cannot be reached (ECONNREFUSED)',
    })
  })

  it('says that nobody has its name', async () => {
    await expect(pull(connect('http://registry.invalid'))).rejects.toMatchObject({
      reason: 'unavailable',
      message: expect.stringMatching(/^up\.test: cannot be reached \((?:ENOTFOUND|EAI_AGAIN)\)$/),
    })
  })

  it('says that the connection broke', async () => {
    const host = await listen((socket) => socket.once('data', () => socket.destroy()))
    await expect(pull(connect(`http://${host}`))).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: the connection broke',
    })
  })

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /its answer is not HTTP/],
    [
      'too many headers',
      `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
      /too many headers/,
    ],
  ])('says that the answer is one with %s', async (_, answer, message) => {
    const host = await listen((socket) => socket.once('data', () => socket.write(answer)))
    await expect(pull(connect(`http://${host}`))).rejects.toMatchObject({
      reason: 'invalid',
      message: expect.stringMatching(message),
    })
  })

  it('is remembered, unless something just is not there', async () => {
    const registry = await startServer((_, response) => response.writeHead(404).end())
    const client = connect(registry.origin, {}, { now: () => START })
    await expect(pull(client)).rejects.toMatchObject({ reason: 'unknown' })
    expect(client.condition().lastError).toBeUndefined()
    registry.handle((_, response) => response.writeHead(500).end())
    await expect(pull(client)).rejects.toMatchObject({ reason: 'unavailable' })
    expect(client.condition().lastError).toEqual({
      message: 'up.test: 500 Internal Server Error',
      at: new Date(START),
    })
  })
})
