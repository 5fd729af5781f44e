// The same promise with Bun: bun:sqlite with a commit for each post, a ReadableStream for each subscriber.
import { Database } from "bun:sqlite";

const db = new Database(process.argv[3], { create: true });
db.run("PRAGMA journal_mode = WAL");
db.run("PRAGMA synchronous = FULL");
db.run("CREATE TABLE events (seq INTEGER PRIMARY KEY, data TEXT NOT NULL)");
const insert = db.prepare("INSERT INTO events (seq, data) VALUES (?, ?)");
const streams = new Set();
const encoder = new TextEncoder();
let last = 0;

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  idleTimeout: 0,
  async fetch(request) {
    if (request.method === "POST") {
      const { text } = await request.json();
      const id = ++last;
      const data = JSON.stringify({ id, type: "message", sessionId: "dev", payload: { text } });
      insert.run(id, data);
      const frame = encoder.encode(`id: ${id}\ndata: ${data}\n\n`);
      for (const stream of streams) stream.enqueue(frame);
      return Response.json({ ok: true, cursor: id });
    }
    let own;
    return new Response(
      new ReadableStream({
        start(controller) {
          own = controller;
          controller.enqueue(encoder.encode(": connected\n\n"));
          streams.add(controller);
        },
        cancel() {
          streams.delete(own);
        },
      }),
      { headers: { "Content-Type": "text/event-stream" } },
    );
  },
});
