/**
 * What a person wrote and the hub has not confirmed: shown at once, sent when there is a connection.
 *
 * Each message has its own idempotency key from the moment it was written, so it is said once however often
 * it is sent: after a time-out, from two tabs, after a reload. The queue survives a reload where the browser
 * stores it. A refusal is final until the person sends again or throws the message away.
 */
import { sessionPath } from "./history.js";
import type { Posted } from "./protocol.gen.js";
import { Refusal, type Transport } from "./transport.js";

export interface Outgoing {
  readonly key: string;
  readonly session: string;
  readonly text: string;
  readonly to: string | null;
  readonly writtenAt: string;
  readonly state: "waiting" | "sending" | "refused" | "sent";
  /** Why it was refused, or why it waits. */
  readonly why: string | null;
  /** The event it became, or seems to have become while the answer is out: then the history shows it. */
  readonly eventId: string | null;
}

/** Where the queue is kept: `localStorage` or nothing. */
export type Shelf = Pick<Storage, "getItem" | "setItem" | "removeItem">;

const MOST = 200;
const REMEMBERED = 1_000;

export class Outbox {
  private items: readonly Outgoing[];
  private sending: Promise<void> | null = null;
  private again = false;
  private readonly seen = new Set<string>();

  constructor(
    private readonly transport: Pick<Transport, "request">,
    private readonly session: string,
    private readonly changed: () => void,
    private readonly newKey: () => string,
    private readonly now: () => Date,
    private readonly shelf: Shelf | null,
    private readonly shelfKey: string,
  ) {
    this.items = this.load();
  }

  get all(): readonly Outgoing[] {
    return this.items;
  }

  /** Queue a message and try to send it. */
  say(text: string, to: string | null): Outgoing {
    if (this.items.length >= MOST) throw new Error(`${MOST} messages wait already; send or discard some first.`);
    const item: Outgoing = {
      key: this.newKey(), session: this.session, text, to, writtenAt: this.now().toISOString(), state: "waiting",
      why: null, eventId: null,
    };
    this.set([...this.items, item]);
    void this.flush();
    return item;
  }

  /**
   * Send what waits, oldest first, until nothing waits or the hub cannot be reached. Call when the connection
   * is live. A call while it is sending makes it try once more at the end: the connection may have come back
   * while a request was still timing out.
   */
  flush(): Promise<void> {
    if (this.sending !== null) {
      this.again = true;
      return this.sending;
    }
    this.sending = this.drain().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  private async drain(): Promise<void> {
    do {
      this.again = false;
      for (;;) {
        const item = this.items.find((one) => one.state === "waiting");
        if (item === undefined) return;
        if (!(await this.send(item))) break;
      }
    } while (this.again);
  }

  /** A refused message goes back into the queue. */
  async retry(key: string): Promise<void> {
    this.change(key, { state: "waiting", why: null });
    await this.flush();
  }

  discard(key: string): void {
    this.set(this.items.filter((item) => item.key !== key));
  }

  /**
   * Events arrived. A confirmed message leaves; one whose answer is still out is marked when its words came
   * back already, so that it is not shown twice. The stream is often faster than the answer.
   */
  arrived(events: readonly { readonly id: string; readonly text: string | null }[]): void {
    for (const { id } of events) this.seen.add(id);
    for (const id of this.seen) {
      if (this.seen.size <= REMEMBERED) break;
      this.seen.delete(id);
    }
    const taken = new Set(this.items.map((item) => item.eventId));
    const left = this.items
      .filter((item) => item.state !== "sent" || !this.seen.has(item.eventId ?? ""))
      .map((item) => {
        if (item.state !== "sending" || item.eventId !== null) return item;
        const echo = events.find(({ id, text }) => text === item.text && !taken.has(id));
        if (echo === undefined) return item;
        taken.add(echo.id);
        return { ...item, eventId: echo.id };
      });
    if (left.length !== this.items.length || left.some((item, at) => item !== this.items[at])) this.set(left);
  }

  /** Whether to go on with the next. */
  private async send(item: Outgoing): Promise<boolean> {
    this.change(item.key, { state: "sending" });
    try {
      const body = { text: item.text, ...(item.to ? { to: item.to } : {}) };
      const posted = await this.transport.request<Posted>(
        "POST", `${sessionPath(this.session)}/message`, body, { key: item.key },
      );
      if (this.seen.has(posted.eventId)) this.discard(item.key);
      else this.change(item.key, { state: "sent", why: null, eventId: posted.eventId });
      return true;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (error instanceof Refusal && !error.passing && error.status !== 401) {
        this.change(item.key, { state: "refused", why, eventId: null });
        return true;
      }
      this.change(item.key, { state: "waiting", why, eventId: null });
      return false;
    }
  }

  private change(key: string, changes: Partial<Outgoing>): void {
    this.set(this.items.map((item) => (item.key === key ? { ...item, ...changes } : item)));
  }

  private set(items: readonly Outgoing[]): void {
    this.items = items;
    const kept = items.filter((item) => item.state !== "sent");
    try {
      if (kept.length > 0) this.shelf?.setItem(this.shelfKey, JSON.stringify(kept));
      else this.shelf?.removeItem(this.shelfKey);
    } catch {
      // A full or forbidden storage costs the queue its memory, nothing else.
    }
    this.changed();
  }

  private load(): readonly Outgoing[] {
    try {
      const kept = JSON.parse(this.shelf?.getItem(this.shelfKey) ?? "[]") as Outgoing[];
      return kept
        .filter((item) => item.session === this.session && typeof item.key === "string")
        .map((item) => (item.state === "sending" ? { ...item, state: "waiting" as const } : item));
    } catch {
      return [];
    }
  }
}
