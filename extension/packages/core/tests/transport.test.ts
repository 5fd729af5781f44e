import { afterEach, describe, expect, test } from "vitest";
import { HttpTransport, Refusal, TransportError, type ConnectionState, type CursoredEvent, type Reset, type SharingTools } from "../src/index.js";
import { FakeHub, event, until } from "./hub.js";

const made: HttpTransport[] = [];
afterEach(() => made.splice(0).forEach((transport) => transport.dispose()));

function follow(hub: FakeHub, options: { after?: number; tools?: SharingTools } = {}) {
  const transport = new HttpTransport({
    base: "http://hub.test/under/", fetch: hub.fetch, ...(options.tools ? { share: true, tools: options.tools } : {}),
  });
  made.push(transport);
  const heard: number[] = [];
  const states: ConnectionState[] = [];
  const resets: Reset[] = [];
  const batches: number[] = [];
  const stop = transport.subscribe("dev", options.after ?? 0, {
    onEvents: (batch: readonly CursoredEvent[]) => {
      heard.push(...batch.map(({ cursor }) => cursor));
      batches.push(batch.length);
    },
    onState: (state) => states.push(state),
    onReset: (reset) => resets.push(reset),
  });
  return { transport, heard, states, resets, batches, stop };
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, index) => index + 1);

describe("a stream", () => {
  test("brings history and what follows, in batches, and says when it is live", async () => {
    const hub = new FakeHub();
    for (let n = 0; n < 50; n += 1) hub.say("past");
    const { heard, states, batches } = follow(hub);
    await until(() => states.includes("live"));
    hub.say("now");
    await until(() => heard.length === 51);
    expect(heard).toEqual(upTo(51));
    expect(states).toEqual(["catching_up", "live"]);
    expect(batches.length).toBeLessThan(5);
    expect(hub.asked[0]).toBe("GET /under/sessions/dev/events?after=0");
  });

  test("comes back after a cut from where it was, without hole or repeat", async () => {
    const hub = new FakeHub();
    const { heard, states } = follow(hub);
    hub.say("one");
    await until(() => heard.length === 1 && states.includes("live"));
    hub.away = true;
    hub.cut();
    await until(() => states.includes("offline"));
    hub.say("while away");
    hub.away = false;
    await until(() => heard.length === 2);
    hub.say("after");
    await until(() => heard.length === 3);
    expect(heard).toEqual([1, 2, 3]);
    expect(hub.asked.at(-1)).toBe("GET /under/sessions/dev/events?after=1&epoch=one");
  });

  test("fills a hole from the history before it goes on", async () => {
    const hub = new FakeHub();
    hub.drop = new Set([2, 3, 7]);
    const { heard, states } = follow(hub);
    await until(() => states.includes("live"));
    for (let n = 0; n < 9; n += 1) hub.say("x");
    await until(() => heard.length === 9, () => heard);
    expect(heard).toEqual(upTo(9));
  });

  test("drops what it has already", async () => {
    const hub = new FakeHub();
    const { heard, states } = follow(hub);
    await until(() => states.includes("live"));
    const first = hub.say("x");
    hub.send(hub.frame(first) + hub.frame(first));
    hub.say("y");
    await until(() => heard.length === 2);
    expect(heard).toEqual([1, 2]);
  });

  test("passes a reset on and goes on after it", async () => {
    const hub = new FakeHub();
    const { heard, states, resets } = follow(hub);
    await until(() => states.includes("live"));
    hub.history.push(...[1, 2, 3, 4].map((n) => event(n)));
    hub.send('event: reset\nid: 4\ndata: {"reason":"pruned","cursor":4,"first":3,"epoch":"two"}\n\n');
    hub.say("five");
    await until(() => heard.length === 1);
    expect(heard).toEqual([5]);
    expect(resets).toEqual([{ reason: "pruned", cursor: 4, first: 3, epoch: "two" }]);
  });

  test("ends when nobody listens", async () => {
    const hub = new FakeHub();
    const { states, stop } = follow(hub);
    await until(() => states.includes("live"));
    stop();
    await until(() => hub.open === 0);
  });
});

describe("a request", () => {
  const ask = (fetcher: typeof fetch, more = {}): HttpTransport => {
    const transport = new HttpTransport({ base: "http://hub.test/", fetch: fetcher, ...more });
    made.push(transport);
    return transport;
  };

  test("carries a key, the XSRF header on writes, and the token instead of cookies", async () => {
    const seen: RequestInit[] = [];
    const fetcher = (async (_url: URL, init: RequestInit) => {
      seen.push(init);
      return new Response("{}");
    }) as typeof fetch;
    const headers = (method: string): Record<string, string> => (method === "GET" ? {} : { "X-XSRF-Token": "x" });
    await ask(fetcher, { headers, newKey: () => "k1" }).request("POST", "jobs/j/cancel");
    await ask(fetcher, { headers, token: "pp_viewer" }).request("GET", "sessions");
    expect(seen.map(({ headers: sent, credentials }) => [sent, credentials])).toEqual([
      [{ Accept: "application/json", "X-XSRF-Token": "x", "Content-Type": "application/json", "Idempotency-Key": "k1" }, "same-origin"],
      [{ Accept: "application/json", Authorization: "Bearer pp_viewer" }, "omit"],
    ]);
  });

  test("that is refused says why in the hub's words", async () => {
    const hub = new FakeHub();
    const refused = await ask(hub.fetch).request("GET", "nowhere").catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Refusal);
    expect(refused).toMatchObject({ status: 404, code: "route.unknown", message: "there is nothing at this address" });
  });

  test("without an answer fails in plain words", async () => {
    const hub = new FakeHub();
    hub.away = true;
    await expect(ask(hub.fetch).request("GET", "sessions")).rejects.toEqual(new TransportError("The hub cannot be reached."));
    const silent = ((_url: URL, { signal }: RequestInit) =>
      new Promise((_resolve, reject) => signal!.addEventListener("abort", () => reject(signal!.reason)))) as typeof fetch;
    await expect(ask(silent).request("GET", "sessions", undefined, { timeoutMs: 20 })).rejects.toEqual(
      new TransportError("The hub did not answer within 0.02 s."),
    );
  });
});

describe("tabs of one browser", () => {
  /** Web Locks of one browser, as far as they are used. */
  class Locks {
    private holder: Promise<unknown> = Promise.resolve();
    readonly request = (async (_name: string, options: { signal?: AbortSignal; ifAvailable?: boolean }, run: (lock: unknown) => Promise<unknown>) => {
      if (options.ifAvailable) return run({});
      const before = this.holder;
      let done!: () => void;
      this.holder = new Promise<void>((resolve) => (done = resolve));
      const aborted = new Promise<never>((_resolve, reject) =>
        options.signal?.addEventListener("abort", () => reject(new DOMException("", "AbortError"))));
      try {
        await Promise.race([before, aborted]);
        return await run({});
      } finally {
        void before.then(done);
      }
    }) as LockManager["request"];
  }
  let browsers = 0;
  const browser = (): SharingTools => {
    const [locks, own] = [new Locks(), ++browsers];
    return { locks, channel: (name) => new BroadcastChannel(`${own} ${name}`) };
  };

  test("share one stream, and the next takes over when the first is closed", async () => {
    const hub = new FakeHub();
    hub.say("before");
    const tools = browser();
    const tabs = Array.from({ length: 8 }, () => follow(hub, { tools }));
    for (const tab of tabs) await until(() => tab.states.at(-1) === "live" && tab.heard.length === 1, () => [tab.states, tab.heard]);
    expect(hub.open).toBe(1);
    hub.say("to all");
    for (const tab of tabs) await until(() => tab.heard.length === 2);
    tabs[0]!.transport.dispose();
    await until(() => hub.asked.filter((one) => one.includes("/events")).length === 2);
    hub.say("after the change");
    for (const tab of tabs.slice(1)) await until(() => tab.heard.length === 3);
    for (const tab of tabs.slice(1)) expect(tab.heard).toEqual([1, 2, 3]);
    expect(hub.open).toBe(1);
  });
});
