import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'

/** Proxies whose word on a client's address is taken. From anyone else it is not even read. */
export class TrustedProxies {
  readonly #trusted = new BlockList()
  readonly #any: boolean

  /** @param ranges addresses, or networks as `10.0.0.0/8`; already checked by the configuration */
  constructor(ranges: readonly string[]) {
    this.#any = ranges.length > 0
    for (const range of ranges) {
      const [address = '', bits] = range.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      const prefix = bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits)
      this.#trusted.addSubnet(address, prefix, family)
    }
  }

  /** Whether a trusted proxy sent it. */
  haveSent(request: IncomingMessage): boolean {
    return this.#any && this.#trusts(plain(request.socket.remoteAddress ?? ''))
  }

  /**
   * The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy's own,
   * since everything left of it was written by the client.
   */
  addressOf(request: IncomingMessage): string {
    const peer = plain(request.socket.remoteAddress ?? '')
    if (!this.haveSent(request)) return peer
    const hops = String(request.headers['x-forwarded-for'] ?? '').split(',')
    let address = peer
    for (const hop of hops.map((text) => withoutPort(text.trim())).toReversed()) {
      if (hop === '') continue
      // Who passed on something unreadable vouches for nothing that stands before it.
      if (isIP(hop) === 0) return address
      address = plain(hop)
      if (!this.#trusts(address)) return address
    }
    return address
  }

  /**
   * What the client typed: its scheme and host, from a trusted proxy or from the request. Of a
   * list the last counts: what stands before it was not written by the proxy.
   */
  originOf(request: IncomingMessage): { readonly scheme: string; readonly host: string } {
    const trusted = this.haveSent(request)
    const header = (name: string) =>
      trusted
        ? String(request.headers[name] ?? '')
            .split(',')
            .at(-1)!
            .trim()
        : ''
    const encrypted = 'encrypted' in request.socket
    return {
      scheme: header('x-forwarded-proto') || (encrypted ? 'https' : 'http'),
      host: header('x-forwarded-host') || (request.headers.host ?? ''),
    }
  }

  #trusts(address: string): boolean {
    const family = isIP(address)
    return family !== 0 && this.#trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** An IPv4 address that arrived over an IPv6 socket, as everybody writes it. */
function plain(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return hop.replace(/^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2')
}
