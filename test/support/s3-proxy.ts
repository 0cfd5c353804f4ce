import type { IncomingMessage } from 'node:http'
import {
  cutRequest,
  cutResponse,
  type FaultHandle,
  loseAnswer,
  reply,
  type Times,
} from './proxy/fault.ts'
import { FaultProxy } from './proxy/fault-proxy.ts'
import { answerOf, type S3Error } from './s3-proxy/error.ts'
import {
  type RequestRecord,
  recordOf,
  type S3Operation,
  type S3Request,
} from './s3-proxy/request.ts'

/** By the name of its operation, or by what its head tells. */
export type Match = S3Operation | ((request: S3Request) => boolean)

/**
 * Stands between Slipway and an S3 server, and fails as networks and object storages do. Buckets
 * have to be in the path.
 */
export class S3Proxy extends FaultProxy<RequestRecord, Match> {
  /** @param target the endpoint of the S3 server, `http://127.0.0.1:7480` */
  static async start(target: string): Promise<S3Proxy> {
    const proxy = new S3Proxy(target)
    await proxy.restore()
    return proxy
  }

  get endpoint(): string {
    return this.origin
  }

  /** In the order in which they came, those under way included. */
  get requests(): readonly S3Request[] {
    return this.records
  }

  count(operation?: S3Operation): number {
    if (operation === undefined) return this.records.length
    return this.records.filter((request) => request.operation === operation).length
  }

  /** Bytes that went to the server to be kept there, by PutObject and UploadPart. */
  get bytesStored(): number {
    return this.records
      .filter(({ operation }) => operation === 'PutObject' || operation === 'UploadPart')
      .reduce((sum, { requestBytes }) => sum + requestBytes, 0)
  }

  /**
   * The server gets so many bytes of the body and then sees the connection end, as does the
   * client. It gets all of a shorter body, and its answer is lost.
   */
  cutRequest(match: Match, { afterBytes, ...times }: { afterBytes: number } & Times): FaultHandle {
    return this.add(match, times, cutRequest(afterBytes))
  }

  /** The client gets so many bytes of the answer's body, or all of a shorter one. */
  cutResponse(match: Match, { afterBytes, ...times }: { afterBytes: number } & Times): FaultHandle {
    return this.add(match, times, cutResponse(afterBytes))
  }

  /** The client is answered so, and the server not asked. */
  answer(match: Match, { times = 1, ...error }: S3Error & Times): FaultHandle {
    return this.add(match, { times }, reply(answerOf(error)))
  }

  /** The server carries the request out and answers; the client's connection ends without a byte. */
  loseAnswer(match: Match, times: Times = {}): FaultHandle {
    return this.add(match, times, loseAnswer)
  }

  /** Connections are refused, those that exist break. */
  outage(): Promise<void> {
    return this.refuseConnections()
  }

  /** Breaks what is under way. Nothing that hangs goes on any more. */
  stop(): Promise<void> {
    return this.refuseConnections()
  }

  protected override recordOf(incoming: IncomingMessage): RequestRecord {
    return recordOf(incoming)
  }

  protected override isMatch(match: Match, request: RequestRecord): boolean {
    return typeof match === 'string' ? request.operation === match : match(request)
  }
}
