import { subscribe } from 'node:diagnostics_channel'
import { readdir, readlink } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'

/** Files below `folder` that this process has open. Linux only. */
export async function countOpenFiles(folder: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd')
  const files = await Promise.all(
    descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  )
  return files.filter((file) => file.startsWith(folder)).length
}

const open = new Map<ClientRequest, string>()
subscribe('http.client.request.start', (message) => {
  const { request } = message as { request: ClientRequest }
  open.set(request, String(request.getHeader('host')))
  request.once('close', () => open.delete(request))
})

/** Requests of this process to `host` (`address:port`) whose answers were not read to the end. */
export function countOpenRequests(host: string): number {
  return [...open.values()].filter((to) => to === host).length
}
