const PAGE = 1000

/** Everything, page by page: those after the key of the last one, '' to begin. */
export async function* allOf<Item>(
  read: (page: { readonly after: string; readonly limit: number }) => Promise<readonly Item[]>,
  keyOf: (item: Item) => string,
): AsyncGenerator<Item> {
  let after = ''
  for (;;) {
    const items = await read({ after, limit: PAGE })
    yield* items
    const last = items.at(-1)
    if (last === undefined || items.length < PAGE) return
    after = keyOf(last)
  }
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = []
  for await (const item of items) collected.push(item)
  return collected
}
