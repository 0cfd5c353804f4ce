import { type LookupAddress, lookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

/** A host that may not be connected to, as its addresses are not those of the public internet. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused'
  readonly host: string

  constructor(host: string) {
    super(`${host} has no public address`)
    this.host = host
  }
}

/** IANA, "IPv4 Special-Purpose Address Registry", what is not globally reachable; and multicast. */
const RESERVED_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Azure's metadata: public by its number, but answered by the host of the machine.
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

/** Of what is allocated in IPv6, {@link GLOBAL_V6}: IETF protocols, with Teredo, and documentation. */
const RESERVED_V6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
]

/** Global unicast; IPv4 that is mapped or translated (NAT64). Nothing else is a host elsewhere. */
const GLOBAL_V6: readonly (readonly [string, number])[] = [
  ['2000::', 3],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
]

const reserved = new BlockList()
const global = new BlockList()
for (const [net, prefix] of RESERVED_V4) {
  reserved.addSubnet(net, prefix, 'ipv4')
  // An IPv6 address that leads to an IPv4 one is as private as that: mapped, NAT64, 6to4.
  reserved.addSubnet(`::ffff:${net}`, 96 + prefix, 'ipv6')
  reserved.addSubnet(`64:ff9b::${net}`, 96 + prefix, 'ipv6')
  reserved.addSubnet(`2002:${asGroups(net)}::`, 16 + prefix, 'ipv6')
}
for (const [net, prefix] of RESERVED_V6) reserved.addSubnet(net, prefix, 'ipv6')
for (const [net, prefix] of GLOBAL_V6) global.addSubnet(net, prefix, 'ipv6')

/** Whether an address in its text form is that of a host on the public internet. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !reserved.check(address, 'ipv4')
    case 6:
      // An address with a zone is one of this link.
      return (
        !address.includes('%') && global.check(address, 'ipv6') && !reserved.check(address, 'ipv6')
      )
    default:
      return false
  }
}

/** Which addresses may be connected to. */
export type AddressRule = (address: string) => boolean

/** Resolves names as `dns.lookup`, to allowed addresses only; with AddressRefused when there are none. */
export function lookupAllowed(isAllowed: AddressRule): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error !== null) return callback(error, '')
      const allowed = addresses.filter(({ address }) => isAllowed(address))
      const [first] = allowed
      if (first === undefined) return callback(new AddressRefused(hostname), '')
      if (options.all === true) return callback(null, allowed)
      return callback(null, first.address, first.family)
    })
  }
}

/** `10.1.2.3` → `a01:203`. */
function asGroups(v4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = v4.split('.').map(Number)
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
}
