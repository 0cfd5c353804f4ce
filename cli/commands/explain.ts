import { isOpen } from '../../auth/authenticate.ts'
import { explain } from '../../auth/rules/explain.ts'
import { RegistryError } from '../../oci/errors.ts'
import { withAccess } from '../access.ts'
import { JSON_SWITCH, parseAction } from '../flags.ts'
import { harmless, print, printJson, remark } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

export const EXPLAIN_COMMAND: Command = {
  name: 'access explain',
  text: 'tell whether somebody may do something, and by which rule',
  more: `WHO is the name of a user or a robot, or anonymous.
ACTION is pull, push, overwrite or delete.
The exit code is 0 when it is allowed and 1 when it is denied.

  slipway access explain alice push team/app:v1`,
  settings: 'taken',
  words: ['WHO', 'ACTION', 'IMAGE'],
  switches: JSON_SWITCH,
  run,
}

async function run(options: CommandOptions): Promise<number> {
  const [who = '', word = '', image = ''] = options.words
  const action = parseAction(word)
  const { allowed, why } = await withAccess(options, async ({ control }) => {
    if (await isOpen(control)) {
      remark('by this configuration nobody is asked who they are: everybody may do everything')
    }
    return explain(control, { who, action, image }).catch((error: unknown) => {
      // Exit code 1 would read as an answer.
      if (!(error instanceof RegistryError) || error.status >= 500) throw error
      throw new UsageError(`${error.message}: ${harmless(error.details.join('; '))}`)
    })
  })
  if (options.switches.has('json')) printJson({ allowed, why })
  else print(`${allowed ? 'allowed' : 'denied'}: ${harmless(why)}`)
  return allowed ? 0 : 1
}
