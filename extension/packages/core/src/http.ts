/**
 * The transport over HTTP: `fetch` for requests, a streamed `fetch` for events.
 *
 * `EventSource` is not used: it cannot send the headers that a bearer token or JupyterHub's XSRF check
 * needs. `Accept` is exactly `text/event-stream`, because proxies buffer for anything else. All addresses
 * are relative to `base`, so the same page works at `/`, below a JupyterHub service and behind a proxy.
 *
 * With `share`, all tabs of a browser that follow a session share one stream (see `share.ts`).
 */
import { Follower } from "./follow.js";
import { readPage } from "./history.js";
import { openSocket } from "./socket.js";
import { Sequencer } from "./sequence.js";
import { Sharing, type SharingTools } from "./share.js";
import {
  Refusal,
  TransportError,
  type ConnectionState,
  type Listener,
  type Method,
  type RequestOptions,
  type Transport,
} from "./transport.js";

export interface HttpOptions {
  /** Where the hub is: an absolute address that ends with a slash. */
  base: string | URL;
  /** A bearer token. Without one the browser's cookie counts. */
  token?: string;
  /** More headers for writes, e.g. the XSRF header; asked for each request. */
  headers?: (method: Method) => Readonly<Record<string, string>>;
  /** JupyterLab passes its own, which adds what Jupyter wants. */
  fetch?: typeof fetch;
  kind?: Transport["kind"];
  /** One stream for all tabs. Needs a secure context or localhost; otherwise each tab has its own. */
  share?: boolean;
  /** For `share`: how tabs find each other. Default: the browser's own. */
  tools?: SharingTools | null;
  /** Called when the hub does not know us (any more): show a login. */
  onUnauthenticated?: (why: string) => void;
  newKey?: () => string;
}

const TIMEOUT_MS = 30_000;

export class HttpTransport implements Transport {
  readonly kind: Transport["kind"];
  private readonly base: URL;
  private readonly fetch: typeof fetch;
  private readonly stopping = new AbortController();
  private readonly sharing: Sharing | null;
  private readonly newKey: () => string;

  constructor(private readonly options: HttpOptions) {
    this.base = new URL(options.base);
    if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
    this.kind = options.kind ?? "http";
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.newKey = options.newKey ?? freshKey;
    const tools = options.share ? (options.tools === undefined ? Sharing.browser() : options.tools) : null;
    this.sharing = tools ? new Sharing(tools, this.base.href) : null;
  }

  async request<T>(method: Method, path: string, body?: unknown, options: RequestOptions = {}): Promise<T> {
    const answer = await this.send(method, path, body, options, "application/json");
    const text = await answer.text().catch((error: unknown) => {
      throw new TransportError(`The answer broke off: ${reason(error)}`);
    });
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  async bytes(path: string, options: RequestOptions = {}): Promise<Uint8Array> {
    const answer = await this.send("GET", path, undefined, options, "*/*");
    return new Uint8Array(
      await answer.arrayBuffer().catch((error: unknown) => {
        throw new TransportError(`The answer broke off: ${reason(error)}`);
      }),
    );
  }

  subscribe(session: string, after: number, listener: Listener): () => void {
    const sequencer = new Sequencer(
      after, (from, limit) => readPage(this, session, from, { limit }), (batch) => listener.onEvents(batch),
    );
    let state: ConnectionState | null = null;
    let words: string | undefined;
    const onState = (now: ConnectionState, why?: string): void => {
      if (now === state && why === words) return;
      [state, words] = [now, why];
      listener.onState(now, why);
    };
    const follower = (signal: AbortSignal, tell: FollowerTell): Promise<void> =>
      new Follower({
        open: (cursor, epoch, cut) => this.openStream(session, cursor, epoch, cut),
        sequencer, ...tell, signal,
      }).run();
    onState("catching_up");
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.stopping.signal]);
    const tell: FollowerTell = { onState, onReset: (reset) => listener.onReset?.(reset), onBatch: () => {} };
    const run = this.sharing
      ? this.sharing.follow(session, sequencer, tell, signal, follower)
      : follower(signal, tell);
    void run.catch((error: unknown) => onState("offline", reason(error)));
    return () => {
      sequencer.stop();
      stop.abort();
    };
  }

  dispose(): void {
    this.stopping.abort();
  }

  private async openStream(
    session: string, after: number, epoch: string, signal: AbortSignal,
  ): Promise<Response> {
    const query = new URLSearchParams({ after: String(after) });
    if (epoch) query.set("epoch", epoch);
    if (this.sharing && !this.options.token && !(await this.sharing.slot(signal))) {
      return openSocket(this, this.base, session, query, signal);
    }
    const url = new URL(`sessions/${encodeURIComponent(session)}/events?${query}`, this.base);
    const answer = await this.fetch(url, { ...this.common("GET", "text/event-stream"), signal });
    if (!answer.ok) throw await this.refusal(answer);
    return answer;
  }

  private async send(
    method: Method, path: string, body: unknown, options: RequestOptions, accept: string,
  ): Promise<Response> {
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const late = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([late, this.stopping.signal, ...(options.signal ? [options.signal] : [])]);
    const common = this.common(method, accept);
    if (method !== "GET") {
      common.headers["Content-Type"] = "application/json";
      common.headers["Idempotency-Key"] = options.key ?? this.newKey();
    }
    let answer: Response;
    try {
      answer = await this.fetch(new URL(path, this.base), {
        ...common, method, signal, ...(method === "GET" ? {} : { body: JSON.stringify(body ?? {}) }),
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new TransportError(
        late.aborted ? `The hub did not answer within ${timeoutMs / 1000} s.` : "The hub cannot be reached.",
      );
    }
    if (!answer.ok) throw await this.refusal(answer);
    return answer;
  }

  private common(method: Method, accept: string): { headers: Record<string, string> } & RequestInit {
    const { token, headers } = this.options;
    return {
      method, cache: "no-store", credentials: token ? "omit" : "same-origin", redirect: "error",
      headers: { Accept: accept, ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers?.(method) },
    };
  }

  private async refusal(answer: Response): Promise<Refusal> {
    const text = await answer.text().catch(() => "");
    let body: { error?: unknown; code?: unknown; detail?: unknown; retryAfter?: unknown } = {};
    try {
      body = JSON.parse(text) as typeof body;
    } catch {
      // Something between us and the hub answered.
    }
    const says = typeof body?.error === "string" ? body.error : `The hub answered ${answer.status}.`;
    if (answer.status === 401) this.options.onUnauthenticated?.(says);
    return new Refusal(
      answer.status, typeof body?.code === "string" ? body.code : `http_${answer.status}`, says,
      (body?.detail ?? {}) as Record<string, unknown>, typeof body?.retryAfter === "number" ? body.retryAfter : null,
    );
  }
}

export type FollowerTell = Pick<
  ConstructorParameters<typeof Follower>[0], "onState" | "onReset" | "onBatch"
>;

/** A key for one write. `randomUUID` exists in secure contexts only. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
