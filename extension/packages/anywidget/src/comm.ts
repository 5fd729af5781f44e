/**
 * `fetch` through a widget's comm: the page's side of `pushpals/notebook/relay.py`.
 *
 * A request is one message; the answer is a head, numbered chunks and an end. Chunks are acknowledged as the
 * reader takes them, so a slow page is not flooded. A missing number fails the answer: its reader asks again
 * from where it was, which is what it does for every cut.
 *
 * A comm promises no delivery, and a kernel that runs a cell may take a message only when the cell ends.
 * Each request is confirmed when the kernel has taken it; until then, after a second, `onWaiting(true)`.
 */
import type { Model } from "./model.js";

const WAIT_MS = 1_000;
const READ_AHEAD = 1024 * 1024;

type Word =
  | { kind: "taken"; id: string }
  | { kind: "head"; id: string; status: number; headers: Record<string, string> }
  | { kind: "chunk"; id: string; n: number }
  | { kind: "end"; id: string }
  | { kind: "failed"; id: string; why: string };

interface Pending {
  resolve(answer: Response): void;
  reject(error: Error): void;
  controller: ReadableStreamDefaultController<Uint8Array> | null;
  waiting: ReturnType<typeof setTimeout> | null;
  next: number;
  owed: number;
}

export interface CommOptions {
  /** Whether a message waits for the kernel. */
  onWaiting?: (waiting: boolean) => void;
  newId?: () => string;
}

/** Where requests go that leave through a comm. Nothing is ever looked up under this name. */
export const COMM_BASE = "https://kernel.invalid/";

export class CommFetch {
  private readonly pending = new Map<string, Pending>();
  private readonly late = new Set<string>();
  private count = 0;
  private readonly prefix: string;

  constructor(
    private readonly model: Pick<Model, "send" | "on" | "off">,
    private readonly options: CommOptions = {},
  ) {
    this.prefix = options.newId?.() ?? Math.random().toString(36).slice(2, 12);
    model.on("msg:custom", this.heard);
  }

  readonly fetch: typeof fetch = (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input, COMM_BASE);
    const id = `${this.prefix}-${(this.count += 1)}`;
    const signal = init.signal ?? null;
    return new Promise<Response>((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(signal));
      const waiting = setTimeout(() => this.wait(id, true), WAIT_MS);
      this.pending.set(id, { resolve, reject, controller: null, waiting, next: 1, owed: 0 });
      signal?.addEventListener("abort", () => this.stop(id, aborted(signal)), { once: true });
      this.model.send({
        kind: "open", id, method: init.method ?? "GET", path: url.pathname.slice(1) + url.search,
        headers: Object.fromEntries(new Headers(init.headers)),
        ...(init.body === undefined || init.body === null ? {} : { body: String(init.body) }),
      });
    });
  };

  /** End everything that is under way. */
  dispose(): void {
    this.model.off("msg:custom", this.heard);
    for (const id of [...this.pending.keys()]) this.stop(id, new TypeError("The console was closed."));
  }

  private readonly heard = (word: Word, buffers?: readonly (DataView | ArrayBuffer)[]): void => {
    const known = typeof word?.id === "string" ? this.pending.get(word.id) : undefined;
    if (known === undefined) return;
    if (known.waiting !== null) clearTimeout(known.waiting);
    known.waiting = null;
    this.wait(word.id, false);
    switch (word.kind) {
      case "taken":
        return;
      case "head":
        return known.resolve(this.answer(word.id, known, word.status, word.headers));
      case "chunk":
        return this.chunk(word, known, buffers?.[0]);
      case "end":
        this.pending.delete(word.id);
        known.controller?.close();
        return known.reject(new TypeError("The answer had no beginning."));
      case "failed":
        return this.fail(word.id, new TypeError(word.why));
    }
  };

  private answer(id: string, known: Pending, status: number, headers: Record<string, string>): Response {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          known.controller = controller;
        },
        pull: () => this.acknowledge(id, known),
        cancel: () => this.stop(id, new TypeError("The reader left.")),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }),
    );
    const bare = status === 204 || status === 205 || status === 304;
    return new Response(bare ? null : body, { status, headers });
  }

  private chunk(word: Word & { kind: "chunk" }, known: Pending, data: DataView | ArrayBuffer | undefined): void {
    if (data === undefined || known.controller === null || word.n !== known.next) {
      this.model.send({ kind: "cancel", id: word.id });
      return this.fail(word.id, new TypeError("A piece of the answer got lost on its way."));
    }
    known.next += 1;
    known.owed = word.n;
    known.controller.enqueue(
      data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    if ((known.controller.desiredSize ?? 0) > 0) this.acknowledge(word.id, known);
  }

  private acknowledge(id: string, known: Pending): void {
    if (known.owed === 0 || !this.pending.has(id)) return;
    this.model.send({ kind: "ack", id, n: known.owed });
    known.owed = 0;
  }

  private stop(id: string, error: Error): void {
    if (!this.pending.has(id)) return;
    this.model.send({ kind: "cancel", id });
    this.fail(id, error);
  }

  private fail(id: string, error: Error): void {
    const known = this.pending.get(id);
    if (known === undefined) return;
    this.pending.delete(id);
    if (known.waiting !== null) clearTimeout(known.waiting);
    this.wait(id, false);
    known.reject(error);
    known.controller?.error(error);
  }

  private wait(id: string, waits: boolean): void {
    const before = this.late.size > 0;
    if (waits) this.late.add(id);
    else this.late.delete(id);
    if (before !== this.late.size > 0) this.options.onWaiting?.(!before);
  }
}

function aborted(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DOMException("Aborted", "AbortError");
}
