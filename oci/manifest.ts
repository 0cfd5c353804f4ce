import {
  type Annotations,
  type Descriptor,
  invalid,
  isObject,
  parseAnnotations,
  parseDescriptor,
  parseDescriptors,
  requireText,
} from './descriptor.ts'
import { type Digest, type DigestAlgorithm, digestOf } from './digest.ts'
import { bareMediaType, isDistributable, type ManifestKind, manifestKind } from './media-types.ts'

/** Distribution spec, "Pushing Manifests": a registry should take manifests of at least 4 MiB. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

/** What the registry needs to know of a manifest; the bytes are kept and served as they came. */
export interface Manifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
  /** Blobs that must be in the repository: the config and the layers that may be distributed. */
  readonly blobs: readonly Descriptor[]
  /** Layers that may be elsewhere; kept alive here when they are here. */
  readonly optionalBlobs: readonly Descriptor[]
  /** Entries of an index: manifests, or blobs in the cache indexes BuildKit writes. */
  readonly children: readonly Descriptor[]
  readonly subject: Descriptor | undefined
  /** As the referrers list shows it: the config's media type stands in for an image manifest. */
  readonly artifactType: string | undefined
  readonly annotations: Annotations | undefined
}

/**
 * Reads what was pushed with `contentType` (its parameters do not matter; '' when there was none).
 *
 * @throws RegistryError MANIFEST_INVALID for what is no manifest or contradicts its media type,
 *   DIGEST_INVALID for a malformed digest in it
 */
export function parseManifest(
  bytes: Buffer,
  contentType: string,
  algorithm: DigestAlgorithm = 'sha256',
): Manifest {
  const json = parseObject(bytes)
  if (json['schemaVersion'] === 1) throw invalid('schema version 1 is no longer accepted')
  const mediaType = settleMediaType(json, bareMediaType(contentType))
  const kind = manifestKind(mediaType)
  if (kind === undefined) throw invalid(`${JSON.stringify(mediaType)} is no manifest type`)
  refuseOtherKinds(json, kind)
  return {
    digest: digestOf(bytes, algorithm),
    mediaType,
    bytes,
    ...parseContent(json, kind),
    subject: parseOptional(json['subject'], 'subject'),
    artifactType: settleArtifactType(json, kind),
    annotations: parseAnnotations(json['annotations']),
  }
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw invalid('not JSON', cause)
  }
  if (!isObject(json)) throw invalid('not a JSON object')
  return json
}

/** Helm pushes no `mediaType` in the body, some tools no Content-Type: either will do, both must agree. */
function settleMediaType(json: Record<string, unknown>, contentType: string): string {
  const inBody = json['mediaType']
  if (inBody !== undefined && typeof inBody !== 'string') throw invalid('mediaType is not a string')
  if (inBody === undefined || inBody === '') {
    if (contentType === '') throw invalid('neither a Content-Type nor a mediaType')
    return contentType
  }
  // What generic HTTP clients send by themselves says nothing about the manifest.
  if (contentType === '' || contentType === 'application/json') return inBody
  if (contentType !== inBody) {
    throw invalid(`Content-Type ${contentType} is not the mediaType ${JSON.stringify(inBody)}`)
  }
  return inBody
}

/** One document must not be an image to one client and an index to another. */
function refuseOtherKinds(json: Record<string, unknown>, kind: ManifestKind): void {
  const strangers = { image: ['manifests'], index: ['layers', 'config'], artifact: ['manifests'] }
  const stranger = strangers[kind].find((field) => json[field] !== undefined)
  // BuildKit's cache index carries a config among its children, never as a field of its own.
  if (stranger !== undefined) throw invalid(`an ${kind} manifest has no field ${stranger}`)
}

type Content = Pick<Manifest, 'blobs' | 'optionalBlobs' | 'children'>

function parseContent(json: Record<string, unknown>, kind: ManifestKind): Content {
  if (kind === 'index') {
    const children = parseDescriptors(json['manifests'], 'manifests')
    return { blobs: [], optionalBlobs: [], children }
  }
  const field = kind === 'image' ? 'layers' : 'blobs'
  const layers = parseDescriptors(json[field], field)
  const config = parseOptional(json['config'], 'config')
  return {
    blobs: [
      ...(config === undefined ? [] : [config]),
      ...layers.filter((layer) => isDistributable(layer.mediaType)),
    ],
    optionalBlobs: layers.filter((layer) => !isDistributable(layer.mediaType)),
    children: [],
  }
}

function parseOptional(value: unknown, field: string): Descriptor | undefined {
  return value === undefined || value === null ? undefined : parseDescriptor(value, field)
}

function settleArtifactType(json: Record<string, unknown>, kind: ManifestKind): string | undefined {
  const artifactType = artifactTypeOf(json, kind)
  if (artifactType !== undefined) requireText(artifactType, 'artifactType')
  return artifactType
}

/** Distribution spec, "Listing Referrers": what the descriptor of a referrer shows. */
function artifactTypeOf(json: Record<string, unknown>, kind: ManifestKind): string | undefined {
  const own = json['artifactType']
  if (typeof own === 'string' && own !== '') return own
  const config = json['config']
  if (kind !== 'image' || !isObject(config)) return undefined
  const configType = config['mediaType']
  return typeof configType === 'string' ? configType : undefined
}
