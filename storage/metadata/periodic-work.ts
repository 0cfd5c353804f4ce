/* Work that one process at a time does, every so often, and how far it is. */
import type { Queryable } from './database.ts'

/** What a process left for the next one that goes on with the work. */
export type WorkState = Readonly<Record<string, unknown>>

export interface WorkClaim {
  readonly name: string
  /** Who does it. */
  readonly process: string
  /** Past it another process may begin; a claim can be renewed. */
  readonly claimSeconds: number
}

/**
 * Claims the work, unless somebody else has it, or finished it less than `everySeconds` ago; 0: it is
 * due whenever nobody has it.
 *
 * @returns how far it is; undefined when it is not for this process now
 */
export async function claimPeriodicWork(
  db: Queryable,
  { name, process, claimSeconds, everySeconds }: WorkClaim & { readonly everySeconds: number },
): Promise<{ readonly state: WorkState } | undefined> {
  const { rows } = await db.query<{ state: WorkState }>({
    text: `insert into periodic_work as w (name, claimed_by, claimed_until)
           values ($1, $2, now() + make_interval(secs => $3))
           on conflict (name) do update
             set claimed_by = $2, claimed_until = now() + make_interval(secs => $3)
             where (w.claimed_until is null or w.claimed_until <= now())
               and (w.finished_at is null or w.finished_at <= now() - make_interval(secs => $4))
           returning state`,
    values: [name, process, claimSeconds, everySeconds],
  })
  return rows[0]
}

/** Keeps the claim, and notes how far the work is. @returns false when it was lost */
export async function renewPeriodicWork(
  db: Queryable,
  { name, process, claimSeconds, state }: WorkClaim & { readonly state: WorkState },
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `update periodic_work
           set claimed_until = now() + make_interval(secs => $3), state = $4
           where name = $1 and claimed_by = $2 and claimed_until > now()`,
    values: [name, process, claimSeconds, state],
  })
  return rowCount === 1
}

/** Gives the claim back: the work is done until it is due again. */
export async function finishPeriodicWork(
  db: Queryable,
  { name, process, state }: Pick<WorkClaim, 'name' | 'process'> & { readonly state?: WorkState },
): Promise<void> {
  await db.query({
    text: `update periodic_work
           set claimed_by = null, claimed_until = null, finished_at = now(), state = coalesce($3, state)
           where name = $1 and claimed_by = $2`,
    values: [name, process, state],
  })
}
