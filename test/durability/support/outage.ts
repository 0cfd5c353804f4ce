import { expect } from 'vitest'
import { type Answer, errorOf, exchange } from './exchange.ts'
import { expectBlob, Ledger } from './inspect.ts'
import {
  CONTAINERD,
  type Content,
  contentOf,
  expectStatus,
  imageOf,
  offsetOf,
  patch,
  pushManifest,
  put,
  type Target,
} from './pushes.ts'

/** Nothing keeps its answer in memory, so it shows whether the database can be asked. */
export function listTags({ host, repository }: Target, timeoutMs = 20_000): Promise<Answer> {
  return exchange(host(), { method: 'GET', path: `/v2/${repository}/tags/list`, timeoutMs })
}

export async function readiness({ host }: Target): Promise<number> {
  return (await exchange(host(), { method: 'GET', path: '/readyz' })).status
}

/** It asks the client to try again, in the form that clients understand. */
export function expectUnavailable(answer: Answer): void {
  expect(`${answer.status} ${answer.body.toString()}`).toMatch(/^503 /)
  expect(answer.headers['retry-after']).toMatch(/^\d+$/)
  expect(errorOf(answer).code).toBe('UNAVAILABLE')
}

/** A push from the first byte to the tag, and the pull of what was pushed. */
export async function expectPushAndPull(to: Target, name: string): Promise<void> {
  const image = imageOf(contentOf(name, 3000), [contentOf(`${name} layer`, 50_000)])
  for (const blob of [image.config, ...image.layers]) await CONTAINERD.push(to, blob)
  await pushManifest(to, image, name)
  const ledger = new Ledger()
  ledger.imagePushed(to.repository, name, image)
  await ledger.expectWhole(to.host())
}

/** Half of the bytes, what `between` does, and the other half. */
export async function* interrupted(bytes: Buffer, between: () => Promise<unknown> | void) {
  const half = Math.floor(bytes.length / 2)
  yield bytes.subarray(0, half)
  await between()
  yield bytes.subarray(half)
}

/** Sends the rest by PATCH from where the server says it is, and ends the upload. */
export async function goOn(to: Target, session: string, content: Content): Promise<void> {
  const { bytes, digest } = content
  const offset = (await offsetOf(to, session)) ?? Number.NaN
  expect(offset, 'the session is still there').not.toBeNaN()
  if (offset < bytes.length) {
    expectStatus('rest', await patch(to, session, bytes.subarray(offset), offset), 202)
  }
  expectStatus('PUT', await put(to, session, digest), 201)
  await expectBlob(to.host(), to.repository, digest)
}
