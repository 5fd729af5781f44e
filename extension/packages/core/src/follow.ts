/**
 * Follows one session over one stream after another, for as long as somebody listens.
 *
 * A stream that is silent for longer than three heartbeats is dead, also when it looks open: a phone that
 * slept, a proxy that gave up. After a cut it comes back at once, then after random waits that grow to 15 s;
 * the browser saying that the network is back, or the page being shown again, ends a wait.
 */
import { createParser } from "eventsource-parser";
import { reason } from "./http.js";
import type { Sequencer } from "./sequence.js";
import { Refusal, type ConnectionState, type CursoredEvent, type Reset } from "./transport.js";

export const SILENCE_MS = 45_000;
const MOST_WAIT_MS = 15_000;

export interface FollowerOptions {
  open: (after: number, epoch: string, signal: AbortSignal) => Promise<Response>;
  sequencer: Sequencer;
  onState: (state: ConnectionState, why?: string) => void;
  onReset: (reset: Reset) => void;
  /** What arrived, before it is put in order: for other tabs. Empty with a heartbeat. */
  onBatch: (batch: readonly CursoredEvent[]) => void;
  signal: AbortSignal;
}

export class Follower {
  private epoch = "";

  constructor(private readonly options: FollowerOptions) {}

  async run(): Promise<void> {
    const { onState, signal } = this.options;
    let failures = 0;
    while (!signal.aborted) {
      onState("catching_up");
      try {
        await this.once(() => {
          failures = 0;
        });
        if (signal.aborted) return;
        onState("offline", "The hub closed the stream; coming back.");
      } catch (error) {
        if (signal.aborted) return;
        onState("offline", reason(error));
        // Asking again cannot help: not logged in, no right, no such session.
        if (error instanceof Refusal && error.status < 500 && !error.passing) return;
      }
      const most = Math.min(MOST_WAIT_MS, 250 * 2 ** failures++);
      await rest(Math.random() * most, signal);
    }
  }

  private async once(well: () => void): Promise<void> {
    const { open, sequencer, onState, onReset, onBatch, signal } = this.options;
    const cut = new AbortController();
    const stop = (): void => cut.abort();
    signal.addEventListener("abort", stop, { once: true });
    let dead = setTimeout(stop, SILENCE_MS);
    const wakes = onWake(() => {
      // The page was away for longer than a heartbeat: whatever the stream says, it is old.
      if (Date.now() - lastByte > 20_000) stop();
    });
    let lastByte = Date.now();
    try {
      const answer = await open(sequencer.last, this.epoch, cut.signal);
      this.epoch = answer.headers.get("X-Session-Epoch") ?? this.epoch;
      const beats = answer.headers.get("X-Heartbeat") !== "none";
      if (!beats) clearTimeout(dead);
      if (answer.body === null) throw new Error("This browser cannot read streams.");
      let batch: CursoredEvent[] = [];
      let reset: Reset | null = null;
      let live = false;
      const parser = createParser({
        onEvent: ({ event, data, id }) => {
          if (event === "reset") reset = JSON.parse(data) as Reset;
          else if (!event && id) batch.push({ cursor: Number(id), envelope: JSON.parse(data) as CursoredEvent["envelope"] });
        },
        onComment: (text) => {
          if (/^\s*live\b/.test(text)) live = true;
        },
      });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        lastByte = Date.now();
        clearTimeout(dead);
        if (beats) dead = setTimeout(stop, SILENCE_MS);
        well();
        parser.feed(value);
        if (reset !== null) {
          const told: Reset = reset;
          reset = null;
          sequencer.restart(told.cursor);
          this.epoch = told.epoch;
          onReset(told);
        }
        const arrived = batch;
        batch = [];
        onBatch(arrived);
        if (arrived.length > 0) await sequencer.push(arrived);
        if (live) {
          live = false;
          onState("live");
        }
      }
    } finally {
      clearTimeout(dead);
      wakes();
      signal.removeEventListener("abort", stop);
      cut.abort();
    }
  }
}

/** Wait, unless something says that now is a good moment. */
function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      forget();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    const forget = onWake(done);
    signal.addEventListener("abort", done, { once: true });
  });
}

function onWake(wake: () => void): () => void {
  const target = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & {
    document?: EventTarget & { hidden: boolean };
  };
  const shown = (): void => {
    if (!target.document?.hidden) wake();
  };
  target.addEventListener?.("online", wake);
  target.document?.addEventListener("visibilitychange", shown);
  return () => {
    target.removeEventListener?.("online", wake);
    target.document?.removeEventListener("visibilitychange", shown);
  };
}
