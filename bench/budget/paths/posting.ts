import type { Connection } from '../../client/connection.ts'
import type { Content } from '../../client/content.ts'
import { expectStatus, locationOf } from '../../client/push.ts'

const octets = { 'Content-Type': 'application/octet-stream' }

/** The blob in one request (distribution spec, end-4b). */
export async function postWhole(
  connection: Connection,
  repository: string,
  { digest, bytes }: Content,
): Promise<void> {
  const target = `/v2/${repository}/blobs/uploads/?digest=${encodeURIComponent(digest)}`
  const request = { method: 'POST', target, headers: octets, body: bytes } as const
  expectStatus(await connection.request(request), 201)
}

/** @returns path and query of the upload */
export async function post(connection: Connection, repository: string): Promise<string> {
  const target = `/v2/${repository}/blobs/uploads/`
  return locationOf(expectStatus(await connection.request({ method: 'POST', target }), 202))
}

/** @param framed the bytes as chunks, as Docker sends them */
export async function patch(
  connection: Connection,
  location: string,
  framed: Buffer,
): Promise<string> {
  const answer = await connection.request({
    method: 'PATCH',
    target: location,
    headers: octets,
    body: framed,
    chunked: true,
  })
  return locationOf(expectStatus(answer, 202))
}

/** Ends an upload, with its bytes when they were not sent before. */
export async function put(
  connection: Connection,
  location: string,
  digest: string,
  body?: Buffer,
): Promise<void> {
  const target = `${location}?digest=${encodeURIComponent(digest)}`
  const sent = body === undefined ? {} : { body, headers: octets }
  expectStatus(await connection.request({ method: 'PUT', target, ...sent }), 201)
}
