import { RegistryError } from '../../oci/errors.ts'

/** Of a user, a robot or a group. Basic authentication leaves no room for a colon. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$/

/** @throws RegistryError NAME_INVALID */
export function checkName(name: string): void {
  if (NAME.test(name)) return
  throw new RegistryError('NAME_INVALID', `${JSON.stringify(name.slice(0, 140))} is no name`)
}

const SUBJECT = /^(?:anonymous|authenticated|everyone|(?:user|robot|group):(.+))$/

/** @throws RegistryError NAME_INVALID */
export function checkSubject(subject: string): void {
  const match = SUBJECT.exec(subject)
  if (match !== null && (match[1] === undefined || NAME.test(match[1]))) return
  throw new RegistryError(
    'NAME_INVALID',
    `${JSON.stringify(subject.slice(0, 140))}: expected user:…, robot:…, group:…, anonymous, authenticated or everyone`,
  )
}
