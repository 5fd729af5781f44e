/**
 * One stream for all tabs of a browser.
 *
 * HTTP/1.1 gives an origin six connections; the seventh tab with a stream of its own could not even load the
 * page. So for each session one tab leads: it holds a Web Lock and the stream, and passes on what arrives
 * over a BroadcastChannel. The others listen; each puts events in order for itself and reads what it missed
 * from the history, so it does not matter what gets lost when the lead changes hands.
 *
 * The lock is free as soon as its tab is closed, crashes or is discarded; the next tab goes on from its own
 * cursor. A leader that is frozen still holds it: a tab that hears nothing for {@link SILENCE_MS} steals it.
 */
import { SILENCE_MS } from "./follow.js";
import type { FollowerTell } from "./http.js";
import type { Sequencer } from "./sequence.js";
import type { ConnectionState, CursoredEvent, Reset } from "./transport.js";

/** The two browser tools, so that tests can bring their own. */
export interface SharingTools {
  locks: Pick<LockManager, "request">;
  channel: (name: string) => BroadcastChannel;
}

/** Streams over HTTP that one browser keeps; sessions beyond them use WebSockets. */
const SLOTS = 4;

type Word =
  | { kind: "hello" }
  | { kind: "batch"; events: readonly CursoredEvent[]; at: number; state: ConnectionState; why?: string }
  | { kind: "reset"; reset: Reset };

type Follow = (signal: AbortSignal, tell: FollowerTell) => Promise<void>;

export class Sharing {
  constructor(
    private readonly tools: SharingTools,
    private readonly base: string,
  ) {}

  static browser(): SharingTools | null {
    const { navigator, BroadcastChannel: Channel } = globalThis;
    if (navigator?.locks === undefined || Channel === undefined) return null;
    return { locks: navigator.locks, channel: (name) => new Channel(name) };
  }

  /** Whether this browser may keep one more HTTP stream open, until `signal`. Two connections stay free. */
  async slot(signal: AbortSignal): Promise<boolean> {
    for (let number = 0; number < SLOTS; number += 1) {
      const got = await new Promise<boolean>((resolve) => {
        void this.tools.locks.request(`pushpals slot ${this.base} ${number}`, { ifAvailable: true }, async (lock) => {
          resolve(lock !== null);
          if (lock !== null && !signal.aborted) {
            await new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
          }
        }).catch(() => resolve(false));
      });
      if (got) return true;
    }
    return false;
  }

  async follow(
    session: string, sequencer: Sequencer, tell: FollowerTell, signal: AbortSignal, follower: Follow,
  ): Promise<void> {
    const name = `pushpals ${this.base} ${session}`;
    const channel = this.tools.channel(name);
    const say = (word: Word): void => channel.postMessage(word);
    let leading = false;
    let state: ConnectionState = "catching_up";
    let why: string | undefined;
    let heard = Date.now();

    channel.onmessage = ({ data }: MessageEvent<Word>) => {
      if (leading) {
        if (data.kind === "hello") say({ kind: "batch", events: [], at: sequencer.last, state, why });
        return;
      }
      heard = Date.now();
      if (data.kind === "reset") {
        sequencer.restart(data.reset.cursor);
        tell.onReset(data.reset);
      } else if (data.kind === "batch") {
        const { events, at, state: said, why: words } = data;
        const caught = events.length > 0 ? sequencer.push(events) : sequencer.last < at ? sequencer.catchUp(at) : null;
        void Promise.resolve(caught).then(
          () => leading || tell.onState(said, words),
          (error: unknown) => leading || tell.onState("offline", String(error)),
        );
      }
    };

    const lead = async (ours: AbortSignal): Promise<void> => {
      leading = true;
      try {
        await follower(ours, {
          onState: (now, words) => {
            [state, why] = [now, words];
            tell.onState(now, words);
            say({ kind: "batch", events: [], at: sequencer.last, state, why });
          },
          onReset: (reset) => {
            tell.onReset(reset);
            say({ kind: "reset", reset });
          },
          onBatch: (events) => say({ kind: "batch", events, at: sequencer.last, state, why }),
        });
      } finally {
        leading = false;
      }
    };

    const watch = setInterval(() => {
      if (!leading && !isHidden() && Date.now() - heard > SILENCE_MS) {
        heard = Date.now();
        void this.take(name, signal, lead, true);
      }
    }, 5_000);
    try {
      say({ kind: "hello" });
      while (!signal.aborted) {
        const stolen = await this.take(name, signal, lead, false);
        // Ended by itself, the follower was refused: asking again soon would be refused again.
        if (!signal.aborted) await pause(stolen ? 1_000 : 60_000, signal);
      }
    } finally {
      clearInterval(watch);
      channel.close();
    }
  }

  private async take(
    name: string, signal: AbortSignal, lead: (ours: AbortSignal) => Promise<void>, steal: boolean,
  ): Promise<boolean> {
    const ours = new AbortController();
    const stop = (): void => ours.abort();
    signal.addEventListener("abort", stop, { once: true });
    try {
      await this.tools.locks.request(name, steal ? { steal: true } : { signal }, () => lead(ours.signal));
      return false;
    } catch (error) {
      // Stolen, or not waited for any more.
      if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
      return true;
    } finally {
      ours.abort();
      signal.removeEventListener("abort", stop);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

const isHidden = (): boolean => Boolean((globalThis as { document?: { hidden: boolean } }).document?.hidden);
