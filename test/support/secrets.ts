/** Passwords that tests use: what a server logs must hold none of them. */
export const PASSWORDS = {
  person: 'correct horse battery',
  matrix: 'password of the matrix',
} as const

const SECRETS: readonly RegExp[] = [
  /slip[rpik]_[\w-]{8,}/g, // of robots, personal tokens, identity tokens and CI jobs
  /eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/g, // tokens
  /\bbasic +[\w+/=]{8,}/gi,
  /\$(?:argon2id|2[aby])\$[^"\s]{8,}/g,
  /"d":"[\w-]{20,}"/g, // private keys
  new RegExp(Object.values(PASSWORDS).join('|'), 'g'),
]

/** Everything in the text that looks like a secret, shortened, each once. */
export function secretsIn(text: string): string[] {
  const found = SECRETS.flatMap((pattern) => text.match(pattern) ?? [])
  return [...new Set(found.map((secret) => `${secret.slice(0, 24)}…`))]
}
