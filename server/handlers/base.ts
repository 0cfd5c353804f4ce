import { answerJson } from '../http/answer.ts'
import type { RequestContext } from '../state.ts'

/** end-1: says that this is a registry, and whether the caller's credentials are good. */
export function checkVersion(ctx: RequestContext): void {
  answerJson(ctx, {})
}
