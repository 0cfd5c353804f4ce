import { createCipheriv, createHash } from 'node:crypto'
import { type Answer, exchange } from './exchange.ts'

export interface Content {
  readonly bytes: Buffer
  readonly digest: string
}

/** Pseudo-random bytes: the same seed gives the same content. */
export function contentOf(seed: string, bytes: number): Content {
  const key = createHash('sha256').update(seed).digest()
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const content = stream.update(Buffer.alloc(bytes))
  return { bytes: content, digest: digestOf(content) }
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export interface Target {
  /** Of the server that runs now. */
  readonly host: () => string
  readonly repository: string
}

/** The server answered otherwise than the client hoped for. */
export class Refused extends Error {
  readonly answer: Answer

  constructor(what: string, answer: Answer) {
    super(`${what}: ${answer.status} ${answer.body.toString('utf8', 0, 300)}`)
    this.answer = answer
  }
}

export function expectStatus(what: string, answer: Answer, ...statuses: number[]): Answer {
  if (!statuses.includes(answer.status)) throw new Refused(what, answer)
  return answer
}

/** @returns the path of the session */
export async function startSession({ host, repository }: Target): Promise<string> {
  const path = `/v2/${repository}/blobs/uploads/`
  const answer = await exchange(host(), { method: 'POST', path })
  return expectStatus('POST', answer, 202).headers.location ?? ''
}

export function patch({ host }: Target, session: string, body: Buffer, first?: number) {
  const range = first === undefined ? {} : { 'Content-Range': rangeOf(first, body) }
  const headers = { 'Content-Type': 'application/octet-stream', ...range }
  return exchange(host(), { method: 'PATCH', path: session, headers, body })
}

export function put({ host }: Target, session: string, digest: string, body?: Buffer) {
  const path = `${session}?digest=${encodeURIComponent(digest)}`
  return exchange(host(), { method: 'PUT', path, ...(body === undefined ? {} : { body }) })
}

function rangeOf(first: number, body: Buffer): string {
  return `${first}-${first + body.length - 1}`
}

/** How one client pushes a blob, and how it goes on with a session that it still has. */
export interface Flow {
  readonly name: string
  /** Resolves when the server has said 201. `onSession` hears of the session first. */
  push(target: Target, content: Content, onSession?: (path: string) => void): Promise<void>
  /** The requests of `push` again, on the session it had; undefined for a flow without one. */
  readonly replay?: (target: Target, content: Content, session: string) => Promise<Answer>
}

export const DOCKER: Flow = {
  name: 'POST, PATCH, empty PUT',
  push: async (target, { bytes, digest }, onSession) => {
    const session = await startSession(target)
    onSession?.(session)
    expectStatus('PATCH', await patch(target, session, bytes), 202)
    expectStatus('PUT', await put(target, session, digest), 201)
  },
  replay: async (target, { bytes, digest }, session) => {
    const offset = await offsetOf(target, session)
    if (offset === undefined) return exchange(target.host(), { method: 'GET', path: session })
    if (offset < bytes.length) {
      const rest = bytes.subarray(offset)
      expectStatus('PATCH again', await patch(target, session, rest, offset), 202)
    }
    return put(target, session, digest)
  },
}

export const CONTAINERD: Flow = {
  name: 'POST, PUT with the body',
  push: async (target, { bytes, digest }, onSession) => {
    const session = await startSession(target)
    onSession?.(session)
    expectStatus('PUT', await put(target, session, digest, bytes), 201)
  },
  replay: (target, { bytes, digest }, session) => put(target, session, digest, bytes),
}

export const MONOLITHIC: Flow = {
  name: 'monolithic POST',
  push: async ({ host, repository }, { bytes, digest }) => {
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`
    const answer = await exchange(host(), { method: 'POST', path, body: bytes })
    expectStatus('POST', answer, 201)
  },
}

export const FLOWS: readonly Flow[] = [DOCKER, CONTAINERD, MONOLITHIC]

/** Bytes received by a session, undefined when it is not known. */
export async function offsetOf(
  { host }: Pick<Target, 'host'>,
  session: string,
): Promise<number | undefined> {
  const answer = await exchange(host(), { method: 'GET', path: session })
  if (answer.status === 404) return undefined
  const range = String(expectStatus('GET session', answer, 204).headers['range'])
  // An empty session says 0--1.
  const last = /^0-(-1|\d+)$/.exec(range)?.[1]
  if (last === undefined) throw new Error(`GET session: not a range: ${range}`)
  return Number(last) + 1
}

export interface Image {
  readonly config: Content
  readonly layers: readonly Content[]
  readonly manifest: Content
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

export function imageOf(
  config: Content,
  layers: readonly Content[],
  annotations: Readonly<Record<string, string>> = {},
): Image {
  const describe = (mediaType: string, { digest, bytes }: Content) => ({
    mediaType,
    digest,
    size: bytes.length,
  })
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: layers.map((layer) => describe('application/vnd.oci.image.layer.v1.tar', layer)),
      annotations,
    }),
  )
  return { config, layers, manifest: { bytes, digest: digestOf(bytes) } }
}

/** Resolves when the server has said 201. */
export async function pushManifest(
  { host, repository }: Target,
  { manifest }: Image,
  tag: string,
): Promise<void> {
  const answer = await exchange(host(), {
    method: 'PUT',
    path: `/v2/${repository}/manifests/${tag}`,
    headers: { 'Content-Type': MANIFEST_TYPE },
    body: manifest.bytes,
  })
  expectStatus('PUT manifest', answer, 201)
}
