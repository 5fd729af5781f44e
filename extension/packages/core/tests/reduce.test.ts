import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { EMPTY, apply, fold, toJson, type CursoredEvent } from "../src/index.js";

const FIXTURES = fileURLToPath(new URL("../../../../tests/fixtures/fold/", import.meta.url));
const names = readdirSync(FIXTURES).filter((name) => name.endsWith(".json")).sort();

interface Fixture {
  about: string;
  events: CursoredEvent[];
  view: unknown;
}
const load = (name: string): Fixture => JSON.parse(readFileSync(FIXTURES + name, "utf8")) as Fixture;

test("there are fixtures, and together they use most event types", () => {
  const used = new Set(names.flatMap((name) => load(name).events.map((event) => event.envelope.type)));
  expect(used.size).toBeGreaterThan(40);
});

describe.each(names)("%s", (name) => {
  const { events, view, about } = load(name);

  test(`folds to the view that Python folds it to: ${about}`, () => {
    expect(toJson(fold(events))).toEqual(view);
  });

  test("stopping anywhere, overlapping and going on gives the same", () => {
    for (let cut = 0; cut < events.length; cut += 1) {
      const before = fold(events.slice(0, cut));
      expect(toJson(fold(events.slice(Math.max(0, cut - 3)), before))).toEqual(view);
    }
  });
});

const event = (cursor: number, type: string, payload: unknown): CursoredEvent => ({
  cursor,
  envelope: {
    protocolVersion: "0.1.0", id: `event-${cursor}`, ts: "2026-01-31T12:00:00.000Z", sessionId: "dev", type, payload,
  },
});

test("an event copies only what it touches", () => {
  const view = fold(load("a_fix_that_lands.json").events);
  const after = apply(view, event(view.cursor + 1, "message", { text: "more" }));
  const touched = Object.keys(view).filter((key) => view[key as keyof typeof view] !== after[key as keyof typeof view]);
  expect(touched.sort()).toEqual(["cursor", "messages", "ts"]);
});

test("a type from the future moves the cursor and nothing else", () => {
  const after = apply(EMPTY, event(1, "constructor", { x: 1 }));
  expect(after).toEqual({ ...EMPTY, sessionId: "dev", cursor: 1, ts: "2026-01-31T12:00:00.000Z" });
});

test("ids that name parts of every object are ordinary ids", () => {
  const view = fold([
    event(1, "task_progress", { taskId: "constructor", message: "no such task" }),
    event(2, "task_created", { taskId: "__proto__", title: "t", description: "", createdBy: "remote" }),
    event(3, "task_started", { taskId: "__proto__" }),
  ]);
  expect([...view.tasks].map(([id, task]) => [id, task.state])).toEqual([["__proto__", "started"]]);
});
