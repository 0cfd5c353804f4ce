import { describe, expect, it } from 'vitest'
import { ServerLog } from '../../postgres/server-log.ts'
import { recordLog } from './fixtures.ts'

describe('a line of the server', () => {
  it.each([
    ['00000 7 LOG:  database system is ready to accept connections', 'debug'],
    [
      '00000 7 LOG:  database system was not properly shut down; automatic recovery in progress',
      'info',
    ],
    ['00000 7 LOG:  server process (PID 9) was terminated by signal 11', 'warn'],
    ['01000 7 WARNING:  page verification failed, calculated checksum 1 but expected 2', 'warn'],
    ['23505 7 ERROR:  duplicate key value violates unique constraint "tags_pkey"', 'debug'],
    ['53100 7 ERROR:  could not extend file "base/1/2": No space left on device', 'error'],
    ['XX001 7 ERROR:  invalid page in block 0 of relation base/1/2', 'error'],
    ['57P01 7 FATAL:  terminating connection due to administrator command', 'debug'],
    ['53300 7 FATAL:  sorry, too many clients already', 'error'],
    ['58030 7 PANIC:  could not fsync file "pg_wal/1": Input/output error', 'error'],
    ['postgres: could not access directory "/nowhere": No such file or directory', 'debug'],
  ])('%s is logged as %s', (line, level) => {
    const log = recordLog()
    new ServerLog(log).write(line)
    expect(log.records.map((record) => record.level)).toEqual([level])
  })

  it('that explains another has the level of that one', () => {
    const log = recordLog()
    const serverLog = new ServerLog(log)
    serverLog.write('53100 7 ERROR:  could not write')
    serverLog.write('53100 7 HINT:  Check free disk space.')
    serverLog.write('00000 7 LOG:  something else')
    expect(log.records.map((record) => record.level)).toEqual(['error', 'error', 'debug'])
    expect(serverLog.recent).toBe('could not write; Check free disk space.; something else')
  })
})
