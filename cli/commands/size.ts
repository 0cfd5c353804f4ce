import type { RepositoryName } from '../../oci/reference.ts'
import {
  freedBy,
  requireSelection,
  type Selection,
  type Sizes,
  sizeOfRepository,
  sizesOfRepositories,
  sizesOfTags,
  type TagSizes,
} from '../../registry/sizes.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import { withAccess } from '../access.ts'
import { showBytes } from '../bytes.ts'
import { JSON_SWITCH } from '../flags.ts'
import { parseImage } from '../images.ts'
import { allOf } from '../pages.ts'
import { plural, print, printJson, printTable } from '../printing.ts'
import type { Command, CommandOptions } from '../usage.ts'

export const SIZE_COMMAND: Command = {
  name: 'size',
  text: 'show how large repositories and tags are, and what deleting them frees',
  more: `Without a word: all repositories, those of which most is unique first. With one repository: its
tags. With a tag, a digest or several words: what deleting all of it together would free.
TOTAL counts each blob once, UNIQUE is the part that nothing else needs, SHARED the rest. FREED is
what deleting the tag alone would free: UNIQUE, and what goes with it, such as signatures.

  slipway size team/app:v1 team/app:v2 team/old team/web@sha256:…`,
  settings: 'taken',
  words: ['[REPOSITORY[:TAG]]…'],
  switches: JSON_SWITCH,
  run,
}

async function run(options: CommandOptions): Promise<number> {
  const isJson = options.switches.has('json')
  const selection = selectionOf(options.words)
  const [repository] = selection.repositories
  await withAccess(options, async ({ control: { db } }) => {
    if (options.words.length === 0) await showRepositories(db, isJson)
    else if (options.words.length === 1 && repository) await showTags(db, repository, isJson)
    else await showFreed(db, selection, isJson)
  })
  return 0
}

/** @throws UsageError, RegistryError TAG_INVALID, DIGEST_INVALID */
function selectionOf(words: readonly string[]): Selection {
  const images = words.map(parseImage)
  return {
    repositories: images
      .filter(({ tag, digest }) => tag === undefined && digest === undefined)
      .map(({ repository }) => repository),
    tags: images.flatMap(({ repository, tag }) => (tag === undefined ? [] : { repository, tag })),
    manifests: images.flatMap(({ repository, digest }) =>
      digest === undefined ? [] : { repository, digest },
    ),
  }
}

async function showRepositories(db: Queryable, isJson: boolean): Promise<void> {
  const everything = { limit: Number.POSITIVE_INFINITY, budgetMs: Number.POSITIVE_INFINITY }
  const { repositories } = await sizesOfRepositories(db, { all: [], none: [] }, everything)
  if (isJson) {
    repositories.forEach(printJson)
    return
  }
  printTable(
    ['REPOSITORY', 'TAGS', 'MANIFESTS', 'BLOBS', 'TOTAL', 'UNIQUE', 'SHARED'],
    repositories.map(({ name, tags, manifests, blobs, ...sizes }) => {
      return [name, ...[tags, manifests, blobs].map(String), ...columnsOf(sizes)]
    }),
    'there are no repositories',
  )
}

/** For programs tag by tag, as they are read; the repository comes last. */
async function showTags(db: Queryable, name: RepositoryName, isJson: boolean): Promise<void> {
  const whole = await sizeOfRepository(db, name)
  const tags: TagSizes[] = []
  for await (const each of allOf(
    (page) => sizesOfTags(db, name, page),
    ({ tag }) => tag,
  )) {
    if (isJson) printJson(each)
    else tags.push(each)
  }
  if (isJson) {
    printJson(whole)
    return
  }
  const rows = tags.map((each) => [each.tag, ...columnsOf(each), showBytes(each.freedBytes)])
  printTable(['TAG', 'TOTAL', 'UNIQUE', 'SHARED', 'FREED'], rows, `${name} has no tags`)
  const [total, unique, shared] = columnsOf(whole)
  print(`${name}: ${total}, of which ${unique} unique and ${shared} shared`)
}

async function showFreed(db: Queryable, selection: Selection, isJson: boolean): Promise<void> {
  await requireSelection(db, selection)
  const freed = await freedBy(db, selection)
  if (isJson) {
    printJson(freed)
    return
  }
  const { manifests, blobs, bytes } = freed
  const what = `${plural(manifests, 'manifest')} and ${plural(blobs, 'blob')}`
  print(`frees ${showBytes(bytes)} if deleted: ${what}`)
}

function columnsOf({ totalBytes, uniqueBytes, sharedBytes }: Sizes): string[] {
  return [totalBytes, uniqueBytes, sharedBytes].map(showBytes)
}
