/**
 * The embedded Postgres cannot run here, for a reason that a person has to remove. The message says which,
 * and always names the way out that works everywhere: an external server.
 */
export class EmbeddedPostgresUnavailable extends Error {
  override readonly name = 'EmbeddedPostgresUnavailable'

  constructor(reason: string, options?: ErrorOptions) {
    super(`${reason} A Postgres server of your own always works: set database.url.`, options)
  }
}
