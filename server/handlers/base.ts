import { answerJson } from '../http/answer.ts'
import type { RequestContext } from '../state.ts'

/** end-1: says that this is a registry, and whether the caller's credentials are good. */
export function checkVersion(ctx: RequestContext): void {
  // Also where anonymous may pull: most clients learn only here that there are tokens to be had.
  ctx.state.access.requireCaller()
  answerJson(ctx, {})
}
