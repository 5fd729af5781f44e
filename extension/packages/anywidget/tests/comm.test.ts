import { HttpTransport } from "@pushpals/core";
import { describe, expect, it, vi } from "vitest";
import { COMM_BASE, CommFetch } from "../src/comm.js";

type Message = Record<string, unknown> & { kind: string; id: string };

/** The kernel's side: what it was sent, and a way to answer. */
class Kernel {
  sent: Message[] = [];
  private heard: ((word: unknown, buffers?: DataView[]) => void) | null = null;
  readonly model = {
    send: (content: unknown) => void this.sent.push(content as Message),
    on: (_: string, call: (...args: never[]) => void) => void (this.heard = call as never),
    off: () => void (this.heard = null),
  };

  say(word: Record<string, unknown>, data?: string): void {
    const bytes = data === undefined ? undefined : new TextEncoder().encode(data);
    this.heard?.(word, bytes && [new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)]);
  }

  get id(): string {
    return this.sent.find(({ kind }) => kind === "open")!.id;
  }

  answer(body: string, status = 200): void {
    this.say({ kind: "taken", id: this.id });
    this.say({ kind: "head", id: this.id, status, headers: { "Content-Type": "application/json" } });
    this.say({ kind: "chunk", id: this.id, n: 1 }, body);
    this.say({ kind: "end", id: this.id });
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("fetch through a comm", () => {
  it("sends one message and gives the answer as fetch does", async () => {
    const kernel = new Kernel();
    const transport = new HttpTransport({ base: COMM_BASE, fetch: new CommFetch(kernel.model).fetch, kind: "comm" });
    const answer = transport.request("POST", "sessions/dev/message?x=1", { text: "hello" }, { key: "k" });
    expect(kernel.sent[0]).toMatchObject({
      kind: "open", method: "POST", path: "sessions/dev/message?x=1", body: '{"text":"hello"}',
      headers: { "content-type": "application/json", "idempotency-key": "k" },
    });
    kernel.answer('{"ok":true}');
    expect(await answer).toEqual({ ok: true });
    expect(kernel.sent.at(-1)).toEqual({ kind: "ack", id: kernel.id, n: 1 });
  });

  it("gives a refusal of the hub as a refusal", async () => {
    const kernel = new Kernel();
    const transport = new HttpTransport({ base: COMM_BASE, fetch: new CommFetch(kernel.model).fetch, kind: "comm" });
    const answer = transport.request("POST", "approvals/x", {});
    kernel.answer('{"ok":false,"error":"not here","code":"notebook.no_decisions"}', 403);
    await expect(answer).rejects.toMatchObject({ status: 403, code: "notebook.no_decisions", message: "not here" });
  });

  it("gives what comes before the end, and stops the kernel when the reader leaves", async () => {
    const kernel = new Kernel();
    const cut = new AbortController();
    const opened = new CommFetch(kernel.model).fetch(`${COMM_BASE}sessions/dev/events`, { signal: cut.signal });
    kernel.say({ kind: "head", id: kernel.id, status: 200, headers: {} });
    const reader = (await opened).body!.getReader();
    kernel.say({ kind: "chunk", id: kernel.id, n: 1 }, ": live 0\n\n");
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(": live 0\n\n");
    cut.abort();
    await expect(reader.read()).rejects.toThrow();
    expect(kernel.sent.at(-1)).toEqual({ kind: "cancel", id: kernel.id });
  });

  it("fails the answer when a piece got lost, so that its reader asks again", async () => {
    const kernel = new Kernel();
    const opened = new CommFetch(kernel.model).fetch(`${COMM_BASE}sessions/dev/events`);
    kernel.say({ kind: "head", id: kernel.id, status: 200, headers: {} });
    const text = (await opened).text();
    kernel.say({ kind: "chunk", id: kernel.id, n: 1 }, "one");
    kernel.say({ kind: "chunk", id: kernel.id, n: 3 }, "three");
    await expect(text).rejects.toThrow("A piece of the answer got lost on its way.");
    expect(kernel.sent.map(({ kind }) => kind)).toContain("cancel");
  });

  it("acknowledges only what its reader takes", async () => {
    const kernel = new Kernel();
    const opened = new CommFetch(kernel.model).fetch(`${COMM_BASE}sessions/dev/history`);
    kernel.say({ kind: "head", id: kernel.id, status: 200, headers: {} });
    const reader = (await opened).body!.getReader();
    const piece = "x".repeat(400 * 1024);
    for (const n of [1, 2, 3, 4]) kernel.say({ kind: "chunk", id: kernel.id, n }, piece);
    await settled();
    const acked = (): unknown => kernel.sent.filter(({ kind }) => kind === "ack").at(-1)?.["n"];
    expect(acked()).toBe(2);
    await reader.read();
    await reader.read();
    await settled();
    expect(acked()).toBe(4);
  });

  it("says that the kernel is busy after a second, and takes it back when the message was taken", () => {
    vi.useFakeTimers();
    const kernel = new Kernel();
    const told: boolean[] = [];
    const comm = new CommFetch(kernel.model, { onWaiting: (waiting) => told.push(waiting) });
    void comm.fetch(`${COMM_BASE}sessions`).catch(() => {});
    vi.advanceTimersByTime(999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(2);
    expect(told).toEqual([true]);
    kernel.say({ kind: "taken", id: kernel.id });
    expect(told).toEqual([true, false]);
    vi.useRealTimers();
  });

  it("passes over answers to somebody else's questions", async () => {
    const kernel = new Kernel();
    const comm = new CommFetch(kernel.model);
    const opened = comm.fetch(`${COMM_BASE}sessions`);
    kernel.say({ kind: "head", id: "another-1", status: 500, headers: {} });
    kernel.answer("{}");
    expect((await opened).status).toBe(200);
  });

  it("ends everything that is under way when it is closed", async () => {
    const kernel = new Kernel();
    const comm = new CommFetch(kernel.model);
    const opened = comm.fetch(`${COMM_BASE}sessions`);
    comm.dispose();
    await expect(opened).rejects.toThrow("The console was closed.");
    expect(kernel.sent.at(-1)).toEqual({ kind: "cancel", id: kernel.id });
  });
});
