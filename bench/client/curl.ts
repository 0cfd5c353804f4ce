import { run } from '../command.ts'
import { Connection } from './connection.ts'
import type { ContentFile } from './content.ts'
import { beginUpload, finishUpload, pathAndQuery } from './push.ts'
import { authorizationFor, type Server } from './server.ts'

/** Pushes one blob as Docker does, its bytes sent by curl. Gives the seconds it took. */
export async function pushLayer(
  server: Server,
  repository: string,
  layer: ContentFile,
): Promise<number> {
  const connection = await Connection.open(server)
  try {
    const started = performance.now()
    const target = await beginUpload(connection, repository, layer.digest)
    const location = await patchFile(server, repository, { target, file: layer.file })
    await finishUpload(connection, repository, layer.digest, location)
    return (performance.now() - started) / 1000
  } finally {
    connection.close()
  }
}

/** Pulls one blob `times` times at once, a curl for each. Gives the seconds until the last ended. */
export async function pullLayer(
  server: Server,
  repository: string,
  layer: ContentFile,
  times: number,
): Promise<number> {
  const url = `http://127.0.0.1:${server.port}/v2/${repository}/blobs/${layer.digest}`
  const shown = await headersOf(server, repository)
  const pull = async () => {
    const format = '%{http_code} %{size_download}'
    const printed = await run('curl', ['-sS', '-o', '/dev/null', '-w', format, ...shown, url])
    if (printed !== `200 ${layer.sizeBytes}`) throw new Error(`${url}: ${printed}`)
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: times }, pull))
  return (performance.now() - started) / 1000
}

async function headersOf(server: Server, repository: string): Promise<string[]> {
  const authorization = await authorizationFor(server, [repository])
  return authorization === undefined ? [] : [`-HAuthorization: ${authorization}`]
}

interface Patch {
  readonly target: string
  readonly file: string
}

async function patchFile(
  server: Server,
  repository: string,
  { target, file }: Patch,
): Promise<string> {
  const headers = [
    'Transfer-Encoding: chunked',
    'Content-Type: application/octet-stream',
    // Docker does not wait for a "100 Continue".
    'Expect:',
  ]
  const printed = await run('curl', [
    '-sSD-',
    '-o/dev/null',
    '-XPATCH',
    ...headers.map((header) => `-H${header}`),
    ...(await headersOf(server, repository)),
    `-T${file}`,
    `http://127.0.0.1:${server.port}${target}`,
  ])
  const location = /^location: *(\S+)/im.exec(printed)?.[1]
  if (!printed.startsWith('HTTP/1.1 202') || location === undefined) {
    throw new Error(`PATCH was answered with:\n${printed}`)
  }
  return pathAndQuery(location)
}
