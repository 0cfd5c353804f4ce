/** Who wants a plan or a run. */
export interface Requester {
  /** As the audit trail and the history of tags name who it was; undefined: anonymous. */
  readonly subject: string | undefined
  readonly address?: string | undefined
  readonly requestId?: string | undefined
}
