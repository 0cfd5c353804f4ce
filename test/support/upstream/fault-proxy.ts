import type { IncomingMessage } from 'node:http'
import { cutResponse, type FaultHandle, reply, type Times } from '../proxy/fault.ts'
import { FaultProxy, type ProxyOptions } from '../proxy/fault-proxy.ts'
import type { HeaderChanges } from '../proxy/headers.ts'
import {
  answerOf,
  changeHeaders,
  corrupt,
  type Description,
  ignoreRange,
  isDescribed,
  type Refusal,
  stall,
  truncate,
} from './fault.ts'
import {
  blobBytesOf,
  type RequestKind,
  type RequestRecord,
  recordOf,
  type UpstreamRequest,
} from './request.ts'

/** By kind, by what its head is like, or by a predicate of it. */
export type Match = RequestKind | Description | ((request: UpstreamRequest) => boolean)

/**
 * Stands before a registry, and fails as other people's registries do. As `Host` goes through, a
 * registry that names its token service by it sends clients through the proxy for tokens too.
 *
 * Faults of bodies pass HEAD by: they would be used up without an effect.
 */
export class UpstreamProxy extends FaultProxy<RequestRecord, Match> {
  /** @param target where the registry is, `http://127.0.0.1:5000` */
  static async start(target: string, options?: ProxyOptions): Promise<UpstreamProxy> {
    const proxy = new UpstreamProxy(target, options)
    await proxy.restore()
    return proxy
  }

  get url(): string {
    return this.origin
  }

  /** In the order in which they came, those under way included. */
  requests(kind?: RequestKind): readonly UpstreamRequest[] {
    if (kind === undefined) return this.records
    return this.records.filter((request) => request.kind === kind)
  }

  /** Bytes of blobs that went to clients, since the last {@link reset}. */
  get blobBytes(): number {
    return blobBytesOf(this.records)
  }

  /** The client gets so many bytes of this answer's body, or all of a shorter one, and no end. */
  cut(
    match: Match,
    {
      afterBytes,
      end = 'close',
      ...times
    }: { afterBytes: number; end?: 'close' | 'reset' } & Times,
  ): FaultHandle {
    return this.add(withBody(match), times, cutResponse(afterBytes, end))
  }

  /**
   * The body lacks its last bytes and the connection ends, in order. With `announced` the answer
   * says so itself by its length: only who knows the size or the digest will miss them.
   */
  truncate(
    match: Match,
    {
      missingBytes,
      announced = false,
      ...times
    }: { missingBytes: number; announced?: boolean } & Times,
  ): FaultHandle {
    return this.add(withBody(match), times, truncate(missingBytes, announced))
  }

  /** The byte at that position of this answer's body is another one. */
  corrupt(match: Match, { at = 0, ...times }: { at?: number } & Times = {}): FaultHandle {
    return this.add(withBody(match), times, corrupt(at))
  }

  /** The client is answered so, and the registry not asked. */
  answer(match: Match, { times = 1, ...refusal }: Refusal & Times): FaultHandle {
    return this.add(match, { times }, reply(answerOf(refusal)))
  }

  /** Nothing comes after so many bytes of this answer's body until the fault is cleared. */
  stall(match: Match, { afterBytes, ...times }: { afterBytes: number } & Times): FaultHandle {
    return this.add(withBody(match), times, stall(afterBytes))
  }

  override throttle(match: Match, options: { bytesPerSecond: number } & Times): FaultHandle {
    return super.throttle(withBody(match), options)
  }

  /**
   * The answer has these headers in place of its own, and those not that are undefined. Without
   * `Content-Length` its body comes in chunks.
   */
  changeHeaders(
    match: Match,
    { headers, ...times }: { headers: HeaderChanges } & Times,
  ): FaultHandle {
    return this.add(match, times, changeHeaders(headers))
  }

  /** The registry is asked for the whole, and answers 200. */
  ignoreRange(match: Match, times: Times = {}): FaultHandle {
    return this.add(match, times, ignoreRange)
  }

  /** Connections are refused, those that exist break; {@link restore} ends it. */
  stop(): Promise<void> {
    return this.refuseConnections()
  }

  /** For good: what hangs is broken off. Safe to repeat. */
  close(): Promise<void> {
    return this.refuseConnections()
  }

  protected override recordOf(incoming: IncomingMessage): RequestRecord {
    return recordOf(incoming)
  }

  protected override isMatch(match: Match, request: RequestRecord): boolean {
    return isMatch(match, request)
  }
}

function isMatch(match: Match, request: UpstreamRequest): boolean {
  if (typeof match === 'function') return match(request)
  return isDescribed(typeof match === 'string' ? { kind: match } : match, request)
}

function withBody(match: Match): Match {
  return (request) => request.method !== 'HEAD' && isMatch(match, request)
}
