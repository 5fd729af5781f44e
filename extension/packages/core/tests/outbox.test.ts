import { afterEach, expect, test } from "vitest";
import { HttpTransport } from "../src/index.js";
import { Outbox, type Shelf } from "../src/outbox.js";
import { FakeHub } from "./hub.js";

const made: HttpTransport[] = [];
afterEach(() => made.splice(0).forEach((transport) => transport.dispose()));

class Drawer implements Shelf {
  readonly kept = new Map<string, string>();
  getItem = (key: string): string | null => this.kept.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.kept.set(key, value);
  removeItem = (key: string): void => void this.kept.delete(key);
}

let keys = 0;
function outbox(hub: FakeHub, shelf: Shelf | null = null): Outbox {
  const transport = new HttpTransport({ base: "http://hub.test/", fetch: hub.fetch });
  made.push(transport);
  return new Outbox(transport, "dev", () => {}, () => `key-${++keys}`, () => new Date(0), shelf, "outbox");
}
const texts = (hub: FakeHub): unknown[] => hub.history.map(({ envelope }) => (envelope.payload as { text: string }).text);

test("what is written offline is sent in order when there is a connection, once", async () => {
  const hub = new FakeHub();
  hub.away = true;
  const box = outbox(hub);
  box.say("one", null);
  box.say("two", null);
  await box.flush();
  expect(box.all.map(({ state }) => state)).toEqual(["waiting", "waiting"]);
  hub.away = false;
  await box.flush();
  await box.flush();
  expect(texts(hub)).toEqual(["one", "two"]);
  expect(box.all.map(({ state, eventId }) => [state, eventId])).toEqual([["sent", "event-1"], ["sent", "event-2"]]);
});

test("an answer that got lost does not make it said twice", async () => {
  const hub = new FakeHub();
  const lossy = outbox(hub);
  const honest = hub.fetch;
  let lose = true;
  const transport = new HttpTransport({
    base: "http://hub.test/",
    fetch: (async (input: URL, init: RequestInit) => {
      const answer = await honest(input, init);
      if (lose) throw new TypeError("the answer got lost");
      return answer;
    }) as typeof fetch,
  });
  made.push(transport);
  const box = new Outbox(transport, "dev", () => {}, () => "the-key", () => new Date(0), null, "outbox");
  expect(lossy.all).toEqual([]);
  box.say("once", null);
  await box.flush();
  lose = false;
  await box.flush();
  expect(texts(hub)).toEqual(["once"]);
});

test("a refusal stays until it is sent again or thrown away, and holds nobody up", async () => {
  const hub = new FakeHub();
  const box = outbox(hub);
  box.say("refuse me", null);
  box.say("fine", null);
  await box.flush();
  expect(box.all.map(({ state, why }) => [state, why])).toEqual([["refused", "no"], ["sent", null]]);
  box.discard(box.all[0]!.key);
  box.arrived([{ id: "event-1", text: "fine" }]);
  expect(box.all).toEqual([]);
});

test("unsent messages survive a reload with their keys", async () => {
  const hub = new FakeHub();
  hub.away = true;
  const drawer = new Drawer();
  const before = outbox(hub, drawer);
  before.say("later", null);
  await before.flush();
  const again = outbox(hub, drawer);
  expect(again.all.map(({ text, state }) => [text, state])).toEqual([["later", "waiting"]]);
  hub.away = false;
  await again.flush();
  expect(texts(hub)).toEqual(["later"]);
  expect([...drawer.kept]).toEqual([]);
});

test("a message whose event is faster than its answer is not shown twice", async () => {
  const hub = new FakeHub();
  const box = outbox(hub);
  box.say("quick", null);
  box.arrived([{ id: "event-1", text: "quick" }]);
  expect(box.all.map(({ state, eventId }) => [state, eventId])).toEqual([["sending", "event-1"]]);
  await box.flush();
  expect(box.all).toEqual([]);
});
