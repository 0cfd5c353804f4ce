import { RegistryError } from '../../oci/errors.ts'
import { readBody } from '../http/body.ts'
import type { RequestContext } from '../state.ts'

const MAX_BYTES = 64 * 1024

/**
 * The body as JSON.
 *
 * @throws RegistryError UNSUPPORTED with status 415 for another Content-Type, and 400 for what is
 *   not JSON; SIZE_INVALID with status 413 beyond 64 KiB; BodyCut when the client left
 */
export async function readJson({ req }: RequestContext): Promise<unknown> {
  const [type = ''] = (req.headers['content-type'] ?? '').split(';')
  if (type.trim().toLowerCase() !== 'application/json') {
    throw new RegistryError('UNSUPPORTED', 'application/json is expected', { status: 415 })
  }
  const bytes = await readBody(req, MAX_BYTES)
  try {
    // Bytes that are no text would become other text, and a password nobody can type.
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // What was wrong with it may be what stands in it: a password is not repeated.
    throw new RegistryError('UNSUPPORTED', 'the body is not JSON', { status: 400 })
  }
}
