/** A hub in memory for transport tests: histories, streams that can be cut, answers that can be withheld. */
import type { CursoredEvent } from "../src/index.js";

export function event(cursor: number, text = `event ${cursor}`): CursoredEvent {
  return {
    cursor,
    envelope: {
      protocolVersion: "0.1.0", id: `event-${cursor}`, ts: "2026-01-31T12:00:00.000Z", sessionId: "dev", type: "message",
      payload: { text },
    },
  };
}

export class FakeHub {
  readonly history: CursoredEvent[] = [];
  readonly posts = new Map<string, number>();
  readonly asked: string[] = [];
  away = false;
  /** What a stream sends instead of the history, to lose events on purpose. */
  drop: ReadonlySet<number> = new Set();
  private readonly streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  private readonly encoder = new TextEncoder();

  get open(): number {
    return this.streams.size;
  }

  say(text: string): CursoredEvent {
    const made = event(this.history.length + 1, text);
    this.history.push(made);
    this.send(this.frame(made));
    return made;
  }

  /** Raw words on every open stream. */
  send(text: string): void {
    for (const stream of this.streams) stream.enqueue(this.encoder.encode(text));
  }

  cut(): void {
    for (const stream of this.streams) stream.close();
    this.streams.clear();
  }

  frame(one: CursoredEvent): string {
    return this.drop.has(one.cursor) ? "" : `id: ${one.cursor}\ndata: ${JSON.stringify(one.envelope)}\n\n`;
  }

  readonly fetch = (async (input: URL | string, init: RequestInit = {}) => {
    const url = new URL(input);
    this.asked.push(`${init.method ?? "GET"} ${url.pathname}${url.search}`);
    if (this.away) throw new TypeError("fetch failed");
    const after = Number(url.searchParams.get("after") ?? 0);
    if (url.pathname.endsWith("/events")) return this.stream(after, init.signal ?? null);
    if (url.pathname.endsWith("/history")) {
      const limit = Number(url.searchParams.get("limit"));
      const items = this.history.filter(({ cursor }) => cursor > after).slice(0, limit);
      const last = this.history.length;
      const end = items.at(-1)?.cursor ?? after;
      return json({ items, next: end < last ? end : null, last });
    }
    if (url.pathname.endsWith("/message")) {
      const key = new Headers(init.headers).get("Idempotency-Key")!;
      const known = this.posts.get(key);
      const { text } = JSON.parse(init.body as string) as { text: string };
      if (text === "refuse me") return json({ ok: false, error: "no", code: "refused" }, 400);
      const cursor = known ?? this.say(text).cursor;
      this.posts.set(key, cursor);
      return json({ ok: true, eventId: `event-${cursor}`, cursor });
    }
    return json({ ok: false, error: "there is nothing at this address", code: "route.unknown" }, 404);
  }) as typeof fetch;

  private stream(after: number, signal: AbortSignal | null): Response {
    let own: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.streams.add(controller);
        const past = this.history.filter(({ cursor }) => cursor > after).map((one) => this.frame(one)).join("");
        controller.enqueue(this.encoder.encode(`: connected\nretry: 1000\n\n${past}: live ${this.history.length}\n\n`));
      },
      cancel: () => void this.streams.delete(own),
    });
    signal?.addEventListener("abort", () => {
      if (this.streams.delete(own)) own.error(new DOMException("aborted", "AbortError"));
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream", "X-Session-Epoch": "one" } });
  }
}

const json = (value: unknown, status = 200): Response => new Response(JSON.stringify(value), { status });

/** Wait until something is so; fails with what is instead. */
export async function until(so: () => boolean, what: () => unknown = () => "it never was"): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (so()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`waited in vain: ${JSON.stringify(what())}`);
}
