import { randomBytes } from 'node:crypto'
import { Connection } from '../../client/connection.ts'
import { contentOf, uniqueConfig } from '../../client/content.ts'
import {
  type PreparedImage,
  prepareBlob,
  prepareImage,
  pushBlob,
  pushImage,
  putManifest,
} from '../../client/push.ts'
import type { HotPath, Site } from '../hot-path.ts'
import { patch, post, postWhole, put } from './posting.ts'

const repository = 'budget/pushes'
const smallBytes = 1024
const largeMebibytes = 64
const times = 300
const layersEach = 2

/** Pushes of content that the registry does not have, unless it says so. */
export const pushes: readonly HotPath[] = [
  {
    name: 'push-docker',
    what: 'push of 1 KiB: POST, PATCH, PUT',
    times,
    async prepare(_site, count) {
      const blobs = many(count, () => prepareBlob(randomBytes(smallBytes)))
      return {
        async once(connection, index) {
          const { digest, framed } = blobs[index]!
          const location = await post(connection, repository)
          await put(connection, await patch(connection, location, framed), digest)
        },
      }
    },
  },
  {
    name: 'push-put',
    what: 'push of 1 KiB: POST, PUT with the bytes',
    times,
    async prepare(_site, count) {
      const blobs = many(count, () => contentOf(randomBytes(smallBytes)))
      return {
        async once(connection, index) {
          const { digest, bytes } = blobs[index]!
          await put(connection, await post(connection, repository), digest, bytes)
        },
      }
    },
  },
  {
    name: 'push-post',
    what: 'push of 1 KiB: POST with the bytes',
    times,
    async prepare(_site, count) {
      const blobs = many(count, () => contentOf(randomBytes(smallBytes)))
      return { once: (connection, index) => postWhole(connection, repository, blobs[index]!) }
    },
  },
  {
    name: 'step-post',
    what: 'of a push: POST alone',
    times,
    prepare: async () => ({ once: (connection) => post(connection, repository) }),
  },
  {
    name: 'step-patch',
    what: 'of a push: PATCH alone',
    times,
    async prepare(site, count) {
      const { framed } = prepareBlob(randomBytes(smallBytes))
      const locations = await prepared(site, count, (connection) => post(connection, repository))
      return { once: (connection, index) => patch(connection, locations[index]!, framed) }
    },
  },
  {
    name: 'step-put',
    what: 'of a push: the empty PUT alone',
    times,
    async prepare(site, count) {
      const received = await prepared(site, count, async (connection) => {
        const { framed, digest } = prepareBlob(randomBytes(smallBytes))
        const location = await post(connection, repository)
        return { digest, location: await patch(connection, location, framed) }
      })
      return {
        once: (connection, index) =>
          put(connection, received[index]!.location, received[index]!.digest),
      }
    },
  },
  {
    name: 'push-again',
    what: 'push of 1 KiB that is there: POST, PATCH, PUT',
    times,
    async prepare({ server }) {
      const blob = prepareBlob(randomBytes(smallBytes))
      const first = await Connection.open(server)
      await pushBlob(first, repository, blob)
      first.close()
      return {
        async once(connection) {
          const location = await post(connection, repository)
          await put(connection, await patch(connection, location, blob.framed), blob.digest)
        },
      }
    },
  },
  large('push-large', 'POST, PATCH in chunks of 32 KiB, PUT', async (connection, bytes) => {
    const { digest, framed } = prepareBlob(bytes)
    const location = await post(connection, repository)
    return async () => put(connection, await patch(connection, location, framed), digest)
  }),
  large('push-large-put', 'POST, PUT with the bytes', async (connection, bytes) => {
    const { digest } = contentOf(bytes)
    const location = await post(connection, repository)
    return () => put(connection, location, digest, bytes)
  }),
  {
    name: 'manifest-put',
    what: `PUT manifest of a new image of ${layersEach} layers, new tag`,
    times,
    async prepare(site, count) {
      const images = await prepared(site, count, pushContent)
      const round = randomBytes(4).toString('hex')
      return {
        once: (connection, index) =>
          putManifest(connection, repository, images[index]!.manifest, `${round}-${index}`),
      }
    },
  },
  {
    name: 'manifest-put-moves',
    what: 'the same, one tag that moves',
    times,
    async prepare(site, count) {
      const images = await prepared(site, count, pushContent)
      return {
        once: (connection, index) =>
          putManifest(connection, repository, images[index]!.manifest, 'latest'),
      }
    },
  },
  {
    name: 'image',
    what: `push of a whole image of ${layersEach} layers, as Docker does it, HEADs too`,
    times: 100,
    async prepare(_site, count) {
      const images = many(count, uniqueImage)
      const round = randomBytes(4).toString('hex')
      return {
        once: (connection, index) =>
          pushImage(connection, repository, images[index]!, `${round}-${index}`),
      }
    },
  },
]

/** @param begin what comes before the bytes; it gives what sends them */
function large(
  name: string,
  how: string,
  begin: (connection: Connection, bytes: Buffer) => Promise<() => Promise<void>>,
): HotPath {
  return {
    name,
    what: `push of ${largeMebibytes} MiB, per MiB: ${how}`,
    times: 4,
    perTime: largeMebibytes,
    isAlone: true,
    async prepare(site, count) {
      const connection = await Connection.open(site.server)
      const sends: (() => Promise<void>)[] = []
      for (let index = 0; index < count; index++) {
        sends.push(await begin(connection, randomBytes(largeMebibytes * 2 ** 20)))
      }
      return { once: (_connection, index) => sends[index]!(), close: () => connection.close() }
    },
  }
}

function many<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make)
}

/** What the connection of nobody who is counted makes. */
async function prepared<T>(
  { server }: Site,
  count: number,
  make: (connection: Connection) => Promise<T>,
): Promise<T[]> {
  const connection = await Connection.open(server)
  const made: T[] = []
  for (let index = 0; index < count; index++) made.push(await make(connection))
  connection.close()
  return made
}

async function pushContent(connection: Connection): Promise<PreparedImage> {
  const image = uniqueImage()
  for (const blob of [...image.layers, image.config]) {
    await postWhole(connection, repository, blob)
  }
  return image
}

function uniqueImage(): PreparedImage {
  return prepareImage(
    uniqueConfig(),
    many(layersEach, () => randomBytes(smallBytes)),
  )
}
