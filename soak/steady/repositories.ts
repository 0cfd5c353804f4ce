/** Each has one client that changes it, which therefore knows what is in it. */
export const REPOSITORIES = [
  'steady/public/web',
  'steady/public/tools',
  'steady/one/api',
  'steady/one/worker',
  'steady/two/base',
  'steady/two/build/cache',
  'steady/three',
  'steady/four/a/b/c',
] as const

export const repositoriesOf = {
  everything: 'steady/**',
  /** Which nobody needs a token to pull. */
  everybodys: 'steady/public/**',
}

export function isPublic(repository: string): boolean {
  return repository.startsWith('steady/public/')
}
