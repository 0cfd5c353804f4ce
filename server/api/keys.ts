import { z } from 'zod'
import { rotateSigningKey } from '../../auth/setup.ts'
import { type Endpoint, endpoint } from './endpoint.ts'

export const KEYS: readonly Endpoint[] = [
  endpoint({
    id: 'rotateSigningKey',
    method: 'POST',
    path: '/keys',
    summary: 'Sign tokens with a new key from now on; tokens signed before stay good',
    who: 'admin',
    status: 201,
    answer: z.strictObject({ id: z.string().meta({ description: 'The `kid` of the key.' }) }),
    handle: async ({ control, actor }) => ({ id: await rotateSigningKey(control, actor) }),
  }),
]
