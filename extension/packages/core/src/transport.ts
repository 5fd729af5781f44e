/**
 * The one thing that the components know about the outside.
 *
 * A transport carries requests to one hub and follows sessions there. It promises:
 *
 * - events of a session arrive in batches, in the order of their cursors, without holes and without
 *   repeats, whatever happens to the connection; what cannot be resumed is said by `onReset`;
 * - every write may carry an idempotency key, so that sending it again cannot do it twice;
 * - it says in which state the connection is whenever that changes, and right after subscribing.
 *
 * It does not promise that a request arrives: a request that got no answer rejects with
 * {@link TransportError} and may be sent again with the same key.
 */
import type { Envelope } from "./protocol.gen.js";

/** An event with its place in the session. Cursors count from 1 without holes. */
export interface CursoredEvent {
  readonly cursor: number;
  readonly envelope: Envelope;
}

/** `catching_up`: connected, history still arrives. `offline`: nothing arrives; it tries again by itself. */
export type ConnectionState = "catching_up" | "live" | "offline";

/** The hub cannot resume from our cursor; everything before `cursor` must be asked for anew. */
export interface Reset {
  readonly reason: "pruned" | "future" | "epoch";
  readonly cursor: number;
  readonly first: number;
  readonly epoch: string;
}

export interface Listener {
  onEvents(batch: readonly CursoredEvent[]): void;
  /** `why` is a sentence for people, given with `offline`. */
  onState(state: ConnectionState, why?: string): void;
  /** The view must be loaded again. Events after `reset.cursor` follow. */
  onReset?(reset: Reset): void;
}

export interface RequestOptions {
  signal?: AbortSignal;
  /** How long to wait for the answer; 30 s unless told. */
  timeoutMs?: number;
  /** Sent as `Idempotency-Key`. Without one a write gets a fresh one. */
  key?: string;
}

export type Method = "GET" | "POST" | "PUT";

export interface Transport {
  readonly kind: "http" | "jupyter-proxy" | "comm";
  /** One request of docs/reference/http.md. `path` is relative to the hub: `sessions/dev/message`. */
  request<T = unknown>(method: Method, path: string, body?: unknown, options?: RequestOptions): Promise<T>;
  /** The bytes of an artifact: `artifacts/<sha256>`. */
  bytes(path: string, options?: RequestOptions): Promise<Uint8Array>;
  /** Follow a session from after `after`. Returns how to stop. */
  subscribe(session: string, after: number, listener: Listener): () => void;
  /** End all subscriptions and requests. */
  dispose(): void;
}

/** No answer came: the hub is away, the network is, or the time was up. Sending again is safe with the key. */
export class TransportError extends Error {
  override readonly name: string = "TransportError";
}

/** The hub answered, and the answer is no. `code` is stable, `message` is a sentence for people. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly detail: Readonly<Record<string, unknown>> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get passing(): boolean {
    return this.status === 429 || this.status === 503 || this.status === 502 || this.status === 504;
  }
}
