/*
 * What the processes on one database tell each other, over LISTEN and NOTIFY; and how one of them
 * makes sure that no other goes by what it has just deleted.
 *
 * A process may go by what it remembers while it holds a lease: a ping on its listening connection
 * that was sent less than LEASE_MS ago has been answered. Postgres answers in order, so by then
 * every notification has arrived that was committed before the ping was sent.
 *
 * Who deletes notifies in the same transaction, and after the commit waits until every listener
 * has acknowledged; but no longer than SETTLE_MS, when whoever has not heard has no lease left
 * from before the commit. What goes wrong makes a delete slow. It never makes an answer stale.
 *
 * Listeners bear a name in `pg_stat_activity`, at which every process looks with each ping. To look
 * after the commit would not do: the server can lose the connection of a process that was cut off
 * and still has its lease. So those seen lately count as well; nobody takes a lease before its name
 * could be seen by all who look as often as they should; and who did not, waits SETTLE_MS.
 */
import { EventEmitter } from 'node:events'
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { LEASE_MS, Listener, type ListenerOptions } from './changes/listener.ts'
import { notifyAtCommit, notifyNow } from './changes/notify.ts'
import type { Transaction } from './database.ts'

const CHANNEL = 'slipway_changed'
/**
 * How long after a commit no process goes by what was before, whether it has heard or not. A second
 * more than the lease: clocks need not run alike.
 */
export const SETTLE_MS = LEASE_MS + 1000

/** Answers that are not true any more. A field left out stands for all: `{}` is everything. */
export interface Revocation {
  readonly repository?: RepositoryName
  readonly digest?: Digest
  /** Fifty of the repository, at most, and then nothing else of it. */
  readonly tags?: readonly Tag[]
}

/** Shorter than 8000 bytes as JSON. */
export type Message =
  | ({ readonly kind: 'revoked' } & Revocation)
  /** A request waits for the upload session that another process writes to. */
  | { readonly kind: 'upload wanted'; readonly id: string }
  /** Who may do what is not what it was. */
  | { readonly kind: 'access changed' }
  /** Which upstreams there are, or that what they said is to be asked again. */
  | { readonly kind: 'upstreams changed' }

/** Sends a message to the other processes if and when the transaction commits. */
export type Announce = (tx: Transaction, message: Message) => Promise<void>

/** A message on its way. One with a number asks for a {@link Receipt}. */
interface Envelope {
  readonly from: string
  readonly number?: number
  readonly message: Message
}

interface Receipt {
  readonly from: string
  readonly number: number
}

export type ChangesOptions = Pick<ListenerOptions, 'id' | 'db' | 'connection' | 'log'>

/** One process's part in the conversation. It keeps one connection besides those of the pool. */
export class Changes {
  readonly #options: ChangesOptions
  readonly #listener: Listener
  readonly #messages = new EventEmitter()
  readonly #announced = new Map<number, Acknowledgements>()
  #numbers = 0

  constructor(options: ChangesOptions) {
    this.#options = options
    this.#listener = new Listener({
      ...options,
      channel: CHANNEL,
      onNotification: (channel, payload) => this.#receive(channel, payload),
      onLoss: () => this.#revokeAll(),
    })
  }

  start(): void {
    this.#listener.start()
  }

  close(): Promise<void> {
    return this.#listener.close()
  }

  /** Whether what another process deleted, and told its client so, is known here by now. */
  areHeard(): boolean {
    return this.#listener.holdsLease()
  }

  /**
   * Calls `hear`, which must not throw, with each message of another process. None is kept for
   * who does not listen at that moment; whoever lost its connection hears that all is `revoked`,
   * and that access and upstreams changed.
   */
  on<Kind extends Message['kind']>(
    kind: Kind,
    hear: (message: Extract<Message, { kind: Kind }>) => void,
  ): void {
    this.#messages.on(kind, hear)
  }

  /** Tells the others, and does not wait for them. */
  publish(message: Message): Promise<void> {
    return this.#send(CHANNEL, { from: this.#listener.name, message })
  }

  /**
   * Runs `work`, which announces messages in a transaction and commits it; returns when every
   * process has heard them that could still go by what they deny, after {@link SETTLE_MS} at the
   * latest. It fails only as `work` does.
   */
  async settling<T>(work: (announce: Announce) => Promise<T>): Promise<T> {
    const mine: Acknowledgements[] = []
    const announce: Announce = async (tx, message) => {
      const acknowledgements = new Acknowledgements(++this.#numbers)
      mine.push(acknowledgements)
      this.#announced.set(acknowledgements.number, acknowledgements)
      const envelope: Envelope = {
        from: this.#listener.name,
        number: acknowledgements.number,
        message,
      }
      await notifyAtCommit(tx, CHANNEL, JSON.stringify(envelope))
    }
    try {
      const result = await work(announce)
      const others = this.#listener.others()
      await Promise.all(mine.map((each) => each.of(others, SETTLE_MS)))
      return result
    } finally {
      for (const { number } of mine) this.#announced.delete(number)
    }
  }

  /** Runs `work` as {@link settling} does, and waits for nobody: for what denies nothing. */
  announcing<T>(work: (announce: Announce) => Promise<T>): Promise<T> {
    const from = this.#listener.name
    return work((tx, message) =>
      notifyAtCommit(tx, CHANNEL, JSON.stringify({ from, message } satisfies Envelope)),
    )
  }

  #receive(channel: string, payload: string): void {
    try {
      if (channel === CHANNEL) this.#hear(JSON.parse(payload))
      else this.#acknowledge(JSON.parse(payload))
    } catch (error) {
      this.#options.log.warn({ err: error, payload }, 'message of another process not understood')
      this.#revokeAll()
    }
  }

  #hear({ from, number, message }: Envelope): void {
    if (from === this.#listener.name) return
    this.#messages.emit(message.kind, message)
    if (number === undefined) return
    // One that is lost costs the sender some seconds.
    this.#send(from, { from: this.#listener.name, number }).catch(() => {})
  }

  #acknowledge({ from, number }: Receipt): void {
    this.#announced.get(number)?.add(from)
  }

  #revokeAll(): void {
    const messages: Message[] = [
      { kind: 'revoked' },
      { kind: 'access changed' },
      { kind: 'upstreams changed' },
    ]
    for (const message of messages) this.#messages.emit(message.kind, message)
  }

  #send(channel: string, content: Envelope | Receipt): Promise<void> {
    return notifyNow(this.#options.db, channel, JSON.stringify(content))
  }
}

/** Who has heard of one message. */
class Acknowledgements {
  readonly number: number
  readonly #from = new Set<string>()
  #added = () => {}

  constructor(number: number) {
    this.number = number
  }

  add(from: string): void {
    this.#from.add(from)
    this.#added()
  }

  /** Waits for all of `listeners`, but no longer than `ms`; undefined: not known who they are. */
  of(listeners: readonly string[] | undefined, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const overdue = setTimeout(resolve, ms)
      this.#added = () => {
        if (!listeners?.every((name) => this.#from.has(name))) return
        clearTimeout(overdue)
        resolve()
      }
      this.#added()
    })
  }
}
