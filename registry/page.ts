/** Names of one page are those after this one; '' to begin. It need not exist. */
export interface PageRequest {
  readonly after: string
  /** 0 for an empty page. */
  readonly limit: number
}

export interface Page<Name> {
  readonly names: readonly Name[]
  /** Whether names follow after the last one here. */
  readonly more: boolean
}

/** Asks for one name more than the page holds, to know whether there is another page. */
export async function pageOf<Name>(
  { after, limit }: PageRequest,
  list: (page: PageRequest) => Promise<readonly Name[]>,
): Promise<Page<Name>> {
  const names = await list({ after, limit: limit === 0 ? 0 : limit + 1 })
  return { names: names.slice(0, limit), more: names.length > limit }
}
