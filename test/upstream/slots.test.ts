import { describe, expect, it } from 'vitest'
import { Slots } from '../../upstream/slots.ts'
import { patiently } from './server.ts'

describe('slots', () => {
  it('are given in the order of coming', async () => {
    const slots = new Slots(1)
    const order: string[] = []
    const first = await slots.take(patiently().signal)
    const second = slots.take(patiently().signal).then((release) => {
      order.push('second')
      return release
    })
    const third = slots.take(patiently().signal).then(() => order.push('third'))
    first()
    ;(await second)()
    await third
    expect(order).toEqual(['second', 'third'])
  })

  it('come back once, however often they are given back', async () => {
    const slots = new Slots(1)
    const release = await slots.take(patiently().signal)
    release()
    release()
    await slots.take(patiently().signal)
    const leaving = new AbortController()
    const waiting = slots.take(leaving.signal)
    leaving.abort(new Error('left'))
    await expect(waiting).rejects.toThrow('left')
  })

  it('are not spent on who has left', async () => {
    const slots = new Slots(1)
    const release = await slots.take(patiently().signal)
    const leaving = new AbortController()
    const left = slots.take(leaving.signal)
    const stays = slots.take(patiently().signal)
    leaving.abort(new Error('left'))
    await expect(left).rejects.toThrow('left')
    release()
    expect(await stays).toBeTypeOf('function')
  })
})
