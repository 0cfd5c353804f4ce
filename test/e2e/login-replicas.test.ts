import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithS3 } from '../support/s3.ts'
import { requestsIn } from './support/access-log.ts'
import { admin } from './support/accounts.ts'
import { lacks } from './support/clients.ts'
import { openFleet } from './support/fleet.ts'
import { verifiedDigests, writeImage } from './support/images.ts'
import { type Nginx, startNginx } from './support/nginx.ts'
import { skopeoIn } from './support/skopeo.ts'
import type { Slipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

describe.skipIf(lacks('nginx', 'skopeo'))('behind nginx', () => {
  describeWithS3('two replicas with accounts', () => {
    let workspace: Workspace
    let replicas: Slipway[]
    let nginx: Nginx

    beforeAll(async () => {
      workspace = await openWorkspace()
      const { start } = await openFleet(workspace)
      const environment = { SLIPWAY_AUTH: 'token', SLIPWAY_ADMIN_PASSWORD: admin.password }
      replicas = await Promise.all([start({ environment }), start({ environment })])
      nginx = await startNginx(
        workspace,
        replicas.map(({ host }) => host),
      )
    })
    afterAll(() => workspace.close())

    it('send clients for tokens to the address by which they came', async () => {
      const { status, headers } = await fetch(`${nginx.url}/v2/`)
      expect(status).toBe(401)
      expect(headers.get('www-authenticate')).toContain(`realm="${nginx.url}/token"`)
    })

    it('take each other’s tokens, and nobody without', async () => {
      const layout = path.join(workspace.directory, 'layout')
      await writeImage(layout, 'behind nginx')
      const skopeo = skopeoIn(workspace)
      const image = `docker://${nginx.host}/team/app:1`
      await expect(skopeo.copy(`oci:${layout}`, image)).rejects.toThrow(/./)

      await skopeo.login(nginx.host, admin.name, admin.password)
      await skopeo.copy(`oci:${layout}`, image)
      const back = path.join(workspace.directory, 'back')
      await skopeo.copy(image, `oci:${back}:1`)

      expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout))
      for (const replica of replicas) {
        const served = (await requestsIn(replica)).filter(({ status }) => status < 300)
        expect(served).not.toEqual([])
      }
    })
  })
})
