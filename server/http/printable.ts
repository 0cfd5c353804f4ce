/** The text as a header or a status line may carry it: printable ASCII without quotes, cut short. */
export function printable(text: string, most: number): string {
  return text
    .slice(0, most)
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .replaceAll('\\', '/')
    .replaceAll('"', "'")
}
