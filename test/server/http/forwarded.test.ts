import type { IncomingMessage } from 'node:http'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TrustedProxies } from '../../../server/http/forwarded.ts'

function request(peer: string | undefined, headers: Record<string, string> = {}): IncomingMessage {
  return { socket: { remoteAddress: peer }, headers } as unknown as IncomingMessage
}

const from = (peer: string, forwardedFor: string) =>
  request(peer, { 'x-forwarded-for': forwardedFor })

describe('the address of a client', () => {
  const proxies = new TrustedProxies(['10.0.0.0/8', '192.168.1.1', 'fd00::/8'])

  it.each([
    ['203.0.113.9', '198.51.100.7', '203.0.113.9'],
    ['11.0.0.1', '198.51.100.7', '11.0.0.1'],
    ['192.168.1.2', '198.51.100.7', '192.168.1.2'],
    ['2001:db8::1', '198.51.100.7', '2001:db8::1'],
  ])('is that of %s, which is no proxy, whatever it claims', (peer, claim, address) => {
    expect(proxies.addressOf(from(peer, claim))).toBe(address)
  })

  it.each([
    ['10.1.2.3', '198.51.100.7', '198.51.100.7'],
    ['192.168.1.1', '198.51.100.7', '198.51.100.7'],
    ['fd00::5', '2001:db8::7', '2001:db8::7'],
    ['::ffff:10.1.2.3', '198.51.100.7', '198.51.100.7'],
    ['10.1.2.3', '::ffff:198.51.100.7', '198.51.100.7'],
    ['10.1.2.3', '198.51.100.7, 10.9.9.9', '198.51.100.7'],
    ['10.1.2.3', '198.51.100.7,10.9.9.9 , 192.168.1.1', '198.51.100.7'],
    ['10.1.2.3', '10.5.5.5, 10.9.9.9', '10.5.5.5'],
  ])('behind the proxy %s that says %j is %s', (peer, claim, address) => {
    expect(proxies.addressOf(from(peer, claim))).toBe(address)
  })

  it('is the last one that a proxy added: those before it were made up', () => {
    const claim = '1.1.1.1, 10.0.0.1, 198.51.100.7, 10.9.9.9'
    expect(proxies.addressOf(from('10.1.2.3', claim))).toBe('198.51.100.7')
  })

  it.each([
    ['6.6.6.6, 198.51.100.7:4711', '198.51.100.7'],
    ['6.6.6.6, [2001:db8::7]:4711', '2001:db8::7'],
    ['6.6.6.6, [2001:db8::7]', '2001:db8::7'],
  ])('may come with its port: %j', (claim, address) => {
    expect(proxies.addressOf(from('10.1.2.3', claim))).toBe(address)
  })

  it.each(['6.6.6.6, unknown', '6.6.6.6, _hidden', '6.6.6.6, 300.1.1.1'])(
    'is the proxy when it says %j: nobody vouches for what stands before',
    (claim) => {
      expect(proxies.addressOf(from('10.1.2.3', claim))).toBe('10.1.2.3')
    },
  )

  it.each(['', ' ', ',', 'unknown', 'a.b.c.d', '<script>'])(
    'is the proxy when it says %j',
    (claim) => {
      expect(proxies.addressOf(from('10.1.2.3', claim))).toBe('10.1.2.3')
      expect(proxies.addressOf(request('10.1.2.3'))).toBe('10.1.2.3')
    },
  )

  it('is the peer when nobody is trusted', () => {
    const nobody = new TrustedProxies([])
    expect(nobody.addressOf(from('10.1.2.3', '198.51.100.7'))).toBe('10.1.2.3')
    expect(nobody.addressOf(from('127.0.0.1', '198.51.100.7'))).toBe('127.0.0.1')
  })

  it('is nothing on a connection that is gone already', () => {
    expect(proxies.addressOf(request(undefined))).toBe('')
  })

  it('never throws, whatever a header says', () => {
    const piece = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string(),
      fc.ipV6().map((address) => `${address}%eth0`),
      fc.constantFrom('fe80::1%lo', '::ffff:1.2.3.4', '::ffff:', '10.0.0.1', '1.2.3.4:80'),
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 5 }),
        fc.constantFrom('10.1.1.1', '9.9.9.9'),
        (hops, peer) => {
          expect(typeof proxies.addressOf(from(peer, hops.join(',')))).toBe('string')
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('the origin of a request', () => {
  const proxies = new TrustedProxies(['10.0.0.0/8'])
  const headers = {
    host: 'inside:5000',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'registry.example',
  }

  it('is what a trusted proxy says', () => {
    expect(proxies.originOf(request('10.1.1.1', headers))).toEqual({
      scheme: 'https',
      host: 'registry.example',
    })
  })

  it('is what the request says from anybody else', () => {
    const expected = { scheme: 'http', host: 'inside:5000' }
    expect(proxies.originOf(request('9.9.9.9', headers))).toEqual(expected)
    expect(new TrustedProxies([]).originOf(request('10.1.1.1', headers))).toEqual(expected)
  })

  it('is what the request says when the proxy says nothing', () => {
    expect(proxies.originOf(request('10.1.1.1', { host: 'inside:5000' }))).toEqual({
      scheme: 'http',
      host: 'inside:5000',
    })
  })

  it('has no host when an old client sent none', () => {
    expect(proxies.originOf(request('9.9.9.9')).host).toBe('')
  })
})
