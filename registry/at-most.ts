import type { LRUCache } from 'lru-cache'

/**
 * Options of a cache that keeps so many entries at most. Room for them is taken as they come: with
 * `max` it would all be made ready at once, which costs milliseconds and megabytes for each cache.
 */
export function atMost<Key extends {}, Value extends {}>(
  entries: number,
): LRUCache.OptionsSizeLimit<Key, Value, unknown> {
  return { maxSize: entries, sizeCalculation: () => 1 }
}
