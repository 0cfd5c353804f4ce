import { describe, expect, it } from 'vitest'
import {
  bareMediaType,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isDistributable,
  manifestKind,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../oci/media-types.ts'

describe('a media type', () => {
  it.each([
    [OCI_MANIFEST, 'image'],
    [DOCKER_MANIFEST, 'image'],
    [OCI_INDEX, 'index'],
    [DOCKER_LIST, 'index'],
    [OCI_ARTIFACT, 'artifact'],
    ['application/vnd.docker.distribution.manifest.v1+json', undefined],
    ['application/vnd.docker.distribution.manifest.v1+prettyjws', undefined],
    ['application/json', undefined],
    ['', undefined],
    ['constructor', undefined],
    ['__proto__', undefined],
    ['toString', undefined],
  ])('%j is of kind %s', (mediaType, kind) => {
    expect(manifestKind(mediaType)).toBe(kind)
  })

  it.each([
    [undefined, ''],
    ['', ''],
    [OCI_MANIFEST, OCI_MANIFEST],
    [`${OCI_MANIFEST}; charset=utf-8`, OCI_MANIFEST],
    [`${OCI_MANIFEST};charset=utf-8;q=1`, OCI_MANIFEST],
    [` ${OCI_MANIFEST} `, OCI_MANIFEST],
    [OCI_MANIFEST.toUpperCase(), OCI_MANIFEST],
    [';', ''],
  ])('%j without its parameters is %j', (header, bare) => {
    expect(bareMediaType(header)).toBe(bare)
  })

  it.each([
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', false],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', false],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', false],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', false],
    ['application/vnd.oci.image.layer.v1.tar+gzip', true],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', true],
    ['application/wasm', true],
    ['', true],
  ])('of a layer, %s: a registry must hold it, %s', (mediaType, held) => {
    expect(isDistributable(mediaType)).toBe(held)
  })
})
