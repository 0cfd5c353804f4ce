import { SOCKET_PORT } from './folders.ts'

export const SERVER_USER = 'slipway'
export const SERVER_DATABASE = 'slipway'

/**
 * The settings that are ours to decide. They travel on the command line, which outranks postgresql.conf and
 * ALTER SYSTEM: no edit of a file turns off durability or opens a port. All others can be set in
 * cluster/postgresql.conf.
 */
export function serverSettings(socketFolder: string): readonly string[] {
  const settings: Readonly<Record<string, string>> = {
    // Reachable through the socket's folder only, which is closed to other users.
    listen_addresses: '',
    port: String(SOCKET_PORT),
    // A list, where a comma would separate; quoted, it may hold any character.
    unix_socket_directories: `"${socketFolder.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',

    // What a 201 promises: these are the defaults, stated so that nothing can change them.
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',

    // A registry's hot set of metadata is small, and we share the machine with what uses it.
    shared_buffers: '64MB',
    // Several pools (workers, tests, a person with psql); an idle slot costs next to nothing.
    max_connections: '100',
    // Our queries are short: compiling them costs more than it saves.
    jit: 'off',
    // The same for parallel plans, whose memory lies in /dev/shm: 64 MB in a default container.
    max_parallel_workers_per_gather: '0',
    // Nothing replicates or archives from here: less WAL, and crash recovery needs no more.
    wal_level: 'minimal',
    max_wal_senders: '0',
    // Saves a process that would only wait.
    max_logical_replication_workers: '0',

    // One line per event on stderr, with SQLSTATE and process, which server-log.ts reads.
    log_destination: 'stderr',
    logging_collector: 'off',
    log_line_prefix: '%e %p ',
    log_timezone: 'UTC',
    lc_messages: 'C',
    // One line every five minutes otherwise, also when idle.
    log_checkpoints: 'off',
    // Statements may hold secrets; the caller that sent a failing one has it anyway.
    log_min_error_statement: 'panic',
    // Says how far a long crash recovery has come.
    log_startup_progress_interval: '5s',

    timezone: 'UTC',
    // Tells our processes from those of another Postgres in ps.
    cluster_name: 'slipway',
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}
