export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
/** Never released by the image spec, still pushed by older clients: `blobs` and a `subject`. */
export const OCI_ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json'

export type ManifestKind = 'image' | 'index' | 'artifact'

const KINDS: Readonly<Record<string, ManifestKind>> = {
  [OCI_MANIFEST]: 'image',
  [DOCKER_MANIFEST]: 'image',
  [OCI_INDEX]: 'index',
  [DOCKER_LIST]: 'index',
  [OCI_ARTIFACT]: 'artifact',
}

/** What a manifest of this media type is made of; undefined for a type that is no manifest. */
export function manifestKind(mediaType: string): ManifestKind | undefined {
  return Object.hasOwn(KINDS, mediaType) ? KINDS[mediaType] : undefined
}

/** Layers that a registry need not hold. Image spec, "Non-Distributable Layers". */
const NON_DISTRIBUTABLE = new Set([
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
])

export function isDistributable(mediaType: string): boolean {
  return !NON_DISTRIBUTABLE.has(mediaType)
}

/** The media type alone, without parameters and in lower case; '' when there is none. */
export function bareMediaType(header: string | undefined): string {
  return (header ?? '').split(';', 1)[0]!.trim().toLowerCase()
}
