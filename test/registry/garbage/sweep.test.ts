import { describe, expect, it } from 'vitest'
import { sweepGarbage } from '../../../registry/garbage/sweep.ts'
import { indexOf, pushManifest } from '../push.ts'
import { pushImage } from './images.ts'
import { AT_ONCE, openStage } from './stage.ts'

describe('the sweep', () => {
  it('finds what nobody queued, and nothing else', async () => {
    const swept = await openStage(AT_ONCE)
    const { signal } = new AbortController()
    try {
      const repository = swept.newRepository()
      const { registry } = swept
      const kept = await pushImage(swept, repository, 'kept', 'kept')
      const child = await pushImage(swept, repository, 'child')
      await pushManifest(registry, repository, indexOf([child.manifest]), { reference: 'index' })
      const garbage = await pushImage(swept, repository, 'garbage')
      const layer = await swept.pushBlob(repository, 'loose')
      await registry.db.query('delete from gc_queue')
      await swept.collect()
      expect(await swept.hasManifest(garbage.manifest)).toBe(true)
      expect(await sweepGarbage(registry, { everySeconds: 60, signal })).toBe(2)
      expect(await sweepGarbage(registry, { everySeconds: 60, signal })).toBeUndefined()
      expect(await sweepGarbage(registry, { everySeconds: 0, signal })).toBe(0)
      await swept.collect()
      expect(await swept.hasManifest(garbage.manifest)).toBe(false)
      expect(await swept.blobState(layer)).toBeUndefined()
      expect(await swept.hasManifest(kept.manifest)).toBe(true)
      expect(await swept.hasManifest(child.manifest)).toBe(true)
    } finally {
      await swept.test.close()
    }
  })
})
