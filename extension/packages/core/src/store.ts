/**
 * One session, kept up to date: the folded view, the hub's records, the connection and the outbox.
 *
 * It loads a snapshot and the newest part of the history, then follows the stream. Records are read again
 * when an event says that they changed, at most once in {@link REFRESH_MS}; nothing polls. Listeners are
 * called at most once a frame, however many events arrive. Several views may share one store.
 */
import { Logs } from "./logs.js";
import { freshKey, reason } from "./http.js";
import { readPage, readRange, sessionPath, type History } from "./history.js";
import { Outbox, type Outgoing, type Shelf } from "./outbox.js";
import { needsYou, type NeedsYou } from "./needs.js";
import type { Approval, Approvals, Decided, JobLog, JobReply, LandingReply, Session, Sessions, SessionView, Snapshot } from "./protocol.gen.js";
import { EMPTY, apply, fold } from "./reduce.js";
import { Refusal, type ConnectionState, type CursoredEvent, type Transport } from "./transport.js";

/** How far a yes reaches: this action, the job's others like it, or (network hosts only) the session. */
export type Scope = "once" | "job" | "session";

export const SYSTEM_SESSION = "_hub";
const WINDOW = 4_000;
const REFRESH_MS = 300;
const FRAME_MS = 33;
const MARK = "console";

const CHANGES_RECORDS = /^(job_(?!log)|approv|denied|landing_|lane_|committed|task_|worker_|check_)/;

export interface StoreState {
  readonly session: string;
  readonly view: SessionView;
  /** The newest events, oldest first: the timeline. */
  readonly events: readonly CursoredEvent[];
  readonly snapshot: Snapshot | null;
  readonly connection: ConnectionState;
  readonly why: string | null;
  /** Why there is nothing to show. */
  readonly problem: string | null;
  readonly outbox: readonly Outgoing[];
  readonly sessions: readonly Session[];
  /** Open approvals of other sessions. */
  readonly elsewhere: readonly Approval[];
  /** Failures that a person has seen, on any device. */
  readonly dismissed: ReadonlySet<string>;
}

export interface StoreOptions {
  newKey?: () => string;
  now?: () => Date;
  /** Keeps unsent messages over a reload. */
  shelf?: Shelf | null;
}

export class SessionStore {
  readonly logs = new Logs();
  private state: StoreState;
  private readonly listeners = new Set<() => void>();
  private readonly outbox: Outbox;
  private readonly stops: (() => void)[] = [];
  private frame: ReturnType<typeof setTimeout> | null = null;
  private refreshing: ReturnType<typeof setTimeout> | null = null;
  private started = false;
  private disposed = false;
  private epoch = 0;
  private markCursor = 0;
  private needs: { state: StoreState; items: NeedsYou[] } | null = null;

  constructor(
    readonly transport: Transport,
    readonly session: string,
    options: StoreOptions = {},
  ) {
    this.outbox = new Outbox(
      transport, session, () => this.set({ outbox: this.outbox.all }), options.newKey ?? freshKey,
      options.now ?? (() => new Date()), options.shelf ?? null, `pushpals-outbox-${session}`,
    );
    this.state = {
      session, view: EMPTY, events: [], snapshot: null, connection: "catching_up", why: null, problem: null,
      outbox: this.outbox.all, sessions: [], elsewhere: [], dismissed: new Set(),
    };
  }

  get(): StoreState {
    return this.state;
  }

  /** What needs the person now, most blocking first. */
  get needsYou(): readonly NeedsYou[] {
    if (this.needs?.state !== this.state) this.needs = { state: this.state, items: needsYou(this.state) };
    return this.needs.items;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Load and follow. Calling it again does nothing. */
  start(): void {
    if (this.started) return;
    this.started = true;
    void this.load();
  }

  dispose(): void {
    this.disposed = true;
    for (const stop of this.stops.splice(0)) stop();
    if (this.frame !== null) clearTimeout(this.frame);
    if (this.refreshing !== null) clearTimeout(this.refreshing);
    this.listeners.clear();
  }

  // --- what a person does -------------------------------------------------------------------------------

  say(text: string, to: string | null = null): void {
    this.outbox.say(text, to);
  }

  resend(key: string): void {
    void this.outbox.retry(key);
  }

  discard(key: string): void {
    this.outbox.discard(key);
  }

  async decide(
    approval: Approval, decision: "approve" | "deny", reason: string | null, device: string, scope: Scope = "once",
  ): Promise<Approval> {
    const body = {
      decision, actionHash: approval.actionHash, device, ...(reason ? { reason } : {}), ...(scope === "once" ? {} : { scope }),
    };
    const key = `decide-${approval.id}-${decision}-${scope}-${approval.actionHash.slice(0, 16)}-${hash(reason ?? "")}-${hash(device)}`;
    const answer = await this.transport.request<Decided>("POST", `approvals/${approval.id}`, body, { key });
    this.refreshSoon();
    return answer.approval;
  }

  async cancelJob(id: string, why: string | null): Promise<void> {
    await this.transport.request<JobReply>("POST", `jobs/${encodeURIComponent(id)}/cancel`, why ? { reason: why } : {});
    this.refreshSoon();
  }

  async retryJob(id: string, note: string | null): Promise<void> {
    await this.transport.request<JobReply>("POST", `jobs/${encodeURIComponent(id)}/retry`, note ? { note } : {});
    this.refreshSoon();
  }

  async cancelLanding(id: string, why: string | null): Promise<void> {
    await this.transport.request("POST", `landings/${encodeURIComponent(id)}/cancel`, why ? { reason: why } : {});
    this.refreshSoon();
  }

  async retryLanding(id: string): Promise<void> {
    await this.transport.request<LandingReply>("POST", `landings/${encodeURIComponent(id)}/retry`, {});
    this.refreshSoon();
  }

  async setLane(lane: string, mode: string, cause: string | null): Promise<void> {
    await this.transport.request("POST", "lanes/mode", { lane, mode, ...(cause ? { cause } : {}) });
    this.refreshSoon();
  }

  async setWorker(id: string, state: string): Promise<void> {
    await this.transport.request("POST", `workers/${encodeURIComponent(id)}/state`, { state });
    this.refreshSoon();
  }

  /** "Seen": it leaves the inbox on every device. */
  async dismiss(id: string): Promise<void> {
    const dismissed = new Set([...this.state.dismissed, id]);
    this.set({ dismissed });
    this.markCursor = Math.max(this.markCursor, this.state.view.cursor);
    const data = { dismissed: [...dismissed].slice(-500) };
    await this.transport.request("PUT", `${sessionPath(this.session)}/marks/${MARK}`, { cursor: this.markCursor, data });
  }

  /** The view as it was at `cursor`, folded from the beginning of what is kept. */
  async viewAt(cursor: number): Promise<SessionView> {
    const first = (this.state.snapshot?.session.first ?? 1) - 1;
    return fold(await readRange(this.transport, this.session, first, cursor));
  }

  /** The stored output of a job, read from the history into {@link logs}. */
  async loadLog(job: string, after: number, signal?: AbortSignal): Promise<void> {
    let from = after;
    for (let page = 0; page < 60; page += 1) {
      const got: History = await readPage(this.transport, this.session, from, { types: ["job_log"], signal });
      const output = this.logs.of(job);
      const known = new Set(output.lines.map((line) => line.seq));
      const older = got.items
        .map((event) => event.envelope.payload as JobLog)
        .filter((line) => line.jobId === job && !known.has(line.seq));
      if (older.length > 0) {
        const merged = [...output.lines, ...older].sort((a, b) => a.seq - b.seq);
        output.lines.splice(0, output.lines.length, ...merged);
        output.version += 1;
        this.tell();
      }
      if (got.next === null) return;
      from = got.next;
    }
  }

  // --- loading ------------------------------------------------------------------------------------------

  private async load(): Promise<void> {
    const epoch = ++this.epoch;
    const current = (): boolean => !this.disposed && epoch === this.epoch;
    for (const stop of this.stops.splice(0)) stop();
    for (let failures = 0; current(); failures += 1) {
      try {
        const snapshot = await this.transport.request<Snapshot>("GET", sessionPath(this.session));
        const after = Math.max((snapshot.session.first ?? 1) - 1, snapshot.cursor - WINDOW);
        const events = await readRange(this.transport, this.session, after, snapshot.cursor);
        if (!current()) return;
        this.take(events, EMPTY, { snapshot, problem: null, events: [] });
        this.follow(Math.max(this.state.view.cursor, snapshot.cursor), current);
        this.around();
        return;
      } catch (error) {
        if (!current()) return;
        const final = error instanceof Refusal && error.status < 500 && !error.passing;
        this.set({ connection: "offline", why: reason(error), problem: final ? reason(error) : this.state.problem });
        if (final) return;
        await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(15_000, 500 * 2 ** failures)));
      }
    }
  }

  private follow(after: number, current: () => boolean): void {
    this.stops.push(
      this.transport.subscribe(this.session, after, {
        onEvents: (batch) => {
          if (!current()) return;
          this.take(batch, this.state.view, {});
          if (batch.some((event) => CHANGES_RECORDS.test(event.envelope.type))) this.refreshSoon();
        },
        onState: (connection, why) => {
          if (!current()) return;
          const back = connection === "live" && this.state.connection === "offline";
          this.set({ connection, why: why ?? null });
          if (connection === "live") void this.outbox.flush();
          if (back) this.refreshSoon();
        },
        onReset: () => {
          if (current()) void this.load();
        },
      }),
    );
    void this.followHub(current);
  }

  /** Workers and lanes belong to no session: what happens to them is told in the hub's own. */
  private async followHub(current: () => boolean): Promise<void> {
    if (this.session === SYSTEM_SESSION) return;
    try {
      const hub = await this.transport.request<Snapshot>("GET", sessionPath(SYSTEM_SESSION));
      if (!current()) return;
      this.stops.push(
        this.transport.subscribe(SYSTEM_SESSION, hub.cursor, {
          onEvents: (batch) => {
            if (batch.some((event) => /^(worker|lane)_/.test(event.envelope.type))) this.refreshSoon();
          },
          onState: () => {},
          onReset: () => this.refreshSoon(),
        }),
      );
    } catch {
      // A token for some sessions only does not see it; the session's own events still refresh the records.
    }
  }

  /** Other sessions, and what was seen on other devices. */
  private around(): void {
    const { transport } = this;
    void transport.request<Sessions>("GET", "sessions?limit=200").then(
      ({ items }) => this.set({ sessions: items.filter((session) => session.id !== SYSTEM_SESSION) }), () => {},
    );
    void transport
      .request<{ cursor: number; data?: { dismissed?: string[] } }>("GET", `${sessionPath(this.session)}/marks/${MARK}`)
      .then((mark) => {
        this.markCursor = mark.cursor;
        this.set({ dismissed: new Set([...this.state.dismissed, ...(mark.data?.dismissed ?? [])]) });
      }, () => {});
    void this.readElsewhere();
  }

  private async readElsewhere(): Promise<void> {
    try {
      const { items } = await this.transport.request<Approvals>("GET", "approvals?limit=100");
      this.set({ elsewhere: items.filter((approval) => approval.sessionId !== this.session && approval.state === "open") });
    } catch {
      // They stay as they were.
    }
  }

  private refreshSoon(): void {
    if (this.refreshing !== null || this.disposed) return;
    this.refreshing = setTimeout(() => {
      this.refreshing = null;
      void this.transport.request<Snapshot>("GET", sessionPath(this.session)).then(
        (snapshot) => {
          if (!this.disposed && snapshot.cursor >= (this.state.snapshot?.cursor ?? 0)) this.set({ snapshot });
        },
        // The stream notices that the hub is away; when it is back the records are read again.
        () => {},
      );
      void this.readElsewhere();
    }, REFRESH_MS);
  }

  private take(batch: readonly CursoredEvent[], view: SessionView, more: Partial<StoreState>): void {
    const told: CursoredEvent[] = [];
    for (const event of batch) {
      if (event.cursor <= view.cursor) continue;
      view = apply(view, event);
      if (event.envelope.type === "job_log") this.logs.take(event.envelope.payload as JobLog);
      else told.push(event);
    }
    const before = more.events ?? this.state.events;
    const events = told.length > 0 ? [...before, ...told].slice(-WINDOW) : before;
    this.set({ ...more, view, events });
    this.outbox.arrived(
      told
        .filter(({ envelope }) => envelope.type === "message")
        .map(({ envelope }) => ({ id: envelope.id, text: (envelope.payload as { text: string }).text })),
    );
  }

  private set(changes: Partial<StoreState>): void {
    if (this.disposed) return;
    this.state = { ...this.state, ...changes };
    this.tell();
  }

  private tell(): void {
    this.frame ??= setTimeout(() => {
      this.frame = null;
      for (const listener of [...this.listeners]) listener();
    }, FRAME_MS);
  }
}

/** Short and stable, for keys: the same words give the same key, others another. FNV-1a. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return value.toString(16);
}
