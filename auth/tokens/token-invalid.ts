/**
 * A token that is refused. The message says why, for the log at debug level, and holds nothing
 * of the token itself.
 */
export class TokenInvalid extends Error {
  override readonly name = 'TokenInvalid'
}

/** A secret that nobody has, or has any more: anybody can make up as many as he likes. */
export class SecretUnknown extends TokenInvalid {
  constructor() {
    super('unknown secret')
  }
}

/** Nobody knows whether the token is good: the keys for it cannot be had at the moment. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable'
}
