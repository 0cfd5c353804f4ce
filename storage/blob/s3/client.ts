import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Duplex } from 'node:stream'
import { S3Client, type ServerSideEncryption } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'

/** How to reach a bucket, and how objects are kept there. */
export interface S3Settings {
  /** Undefined: that of AWS in `region`. */
  readonly endpoint: string | undefined
  readonly region: string
  readonly bucket: string
  /** Before every key, without a slash at either end; '' for none. */
  readonly prefix: string
  /** Undefined: found as the SDK does, from the environment, files, or the machine's role. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: string }
    | undefined
  /** The bucket in the path, not in the host name. */
  readonly pathStyle: boolean
  readonly encryption: ServerSideEncryption | undefined
  /** Id or ARN of the KMS key, for encryption that uses one. */
  readonly kmsKey: string | undefined
  /** Some storages have classes of their own. */
  readonly storageClass: string | undefined
  readonly checksums: 'required' | 'supported'
  /** PEM of certificate authorities to trust for this endpoint. */
  readonly ca: string | undefined
  /** Connections for writing. Reads are as many as there are clients that read. */
  readonly sockets: number
  readonly connectSeconds: number
  /** On a connection on which no byte moves for so long, the request is given up. */
  readonly idleSeconds: number
  /** Tries of one request, the first included. */
  readonly attempts: number
  /** Parts that one process sends at a time. */
  readonly partsInFlight: number
  readonly redirect: RedirectSettings | undefined
}

/** Clients are sent to the bucket for the bytes of blobs. */
export interface RedirectSettings {
  /** How clients reach the bucket, if not as the server does. */
  readonly endpoint: string | undefined
  readonly seconds: number
}

export interface ClientOptions {
  readonly endpoint?: string | undefined
  /** Most connections at a time; further requests wait for one. */
  readonly sockets?: number
}

/**
 * A client with connections of its own: long downloads must not use up those of uploads.
 *
 * Requests never ask to continue (`Expect`), for which the SDK opens a connection each.
 */
export function createClient(settings: S3Settings, options: ClientOptions = {}): S3Client {
  const { endpoint = settings.endpoint, sockets = Number.POSITIVE_INFINITY } = options
  const agentOptions = { keepAlive: true, maxSockets: sockets }
  const connectMs = settings.connectSeconds * 1000
  const checksums = settings.checksums === 'required' ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED'
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    region: settings.region,
    ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
    forcePathStyle: settings.pathStyle,
    maxAttempts: settings.attempts,
    retryMode: 'standard',
    expectContinueHeader: false,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: new NodeHttpHandler({
      httpAgent: connectingWithin(connectMs, new HttpAgent(agentOptions)),
      httpsAgent: connectingWithin(
        connectMs,
        new HttpsAgent({ ...agentOptions, ...(settings.ca && { ca: settings.ca }) }),
      ),
      socketTimeout: settings.idleSeconds * 1000,
    }),
  })
}

/**
 * The handler of the SDK has a time for connecting too, but counts the wait for a free connection
 * as well: a busy process would take a storage that is fine for one that cannot be reached.
 */
function connectingWithin<Agent extends HttpAgent>(ms: number, agent: Agent): Agent {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, callback)
    if (socket) giveUpConnecting(socket, ms)
    return socket
  }
  return agent
}

function giveUpConnecting(socket: Duplex, ms: number): void {
  const overdue = setTimeout(() => {
    const error = Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' })
    socket.destroy(error)
  }, ms)
  const settled = () => clearTimeout(overdue)
  socket.once('connect', settled).once('close', settled)
}
