import { rotateSigningKey } from '../../auth/setup.ts'
import { withAccess } from '../access.ts'
import { print } from '../printing.ts'
import type { Command } from '../usage.ts'

export const KEY_COMMAND: Command = {
  name: 'key rotate',
  text: 'sign tokens with a new key from now on',
  more: 'Tokens that are out stay good until they expire.',
  settings: 'taken',
  run: async (options) => {
    const id = await withAccess(options, ({ control, actor }) => rotateSigningKey(control, actor))
    print(`tokens are signed with key ${id} now`)
    return 0
  },
}
