/**
 * A session's stream over a WebSocket, in the shape of the streamed answer.
 *
 * Used when the browser has no connection to spare: sockets do not count toward the six that HTTP/1.1 gives an
 * origin. It has no heartbeat that a page could see, so its silence means nothing (`X-Heartbeat: none`); when
 * it is live is asked for once.
 */
import { readPage } from "./history.js";
import { TransportError, type Transport } from "./transport.js";

export async function openSocket(
  transport: Pick<Transport, "request">, base: URL, session: string, query: URLSearchParams, signal: AbortSignal,
): Promise<Response> {
  const url = new URL(`sessions/${encodeURIComponent(session)}/ws?${query}`, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const after = Number(query.get("after") ?? 0);
  const { last } = await readPage(transport, session, after, { limit: 1, signal });
  const socket = new WebSocket(url);
  const encoder = new TextEncoder();
  let seen = after;
  let live = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      const send = (text: string): void => controller.enqueue(encoder.encode(text));
      const look = (): void => {
        if (live || seen < last) return;
        live = true;
        send(`: live ${seen}\n\n`);
      };
      const end = (): void => {
        signal.removeEventListener("abort", close);
        try {
          controller.close();
        } catch {
          // Ended already.
        }
      };
      socket.onopen = look;
      socket.onclose = end;
      socket.onmessage = ({ data }: MessageEvent<string>) => {
        const said = JSON.parse(data) as { cursor?: number; envelope?: unknown; reset?: { cursor: number } };
        if (said.reset) {
          seen = said.reset.cursor;
          send(`event: reset\nid: ${seen}\ndata: ${JSON.stringify(said.reset)}\n\n`);
        } else if (said.cursor !== undefined) {
          seen = said.cursor;
          send(`id: ${seen}\ndata: ${JSON.stringify(said.envelope)}\n\n`);
        }
        look();
      };
      const close = (): void => socket.close();
      signal.addEventListener("abort", close, { once: true });
    },
    cancel: () => socket.close(),
  });
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("close", () => reject(new TransportError("The hub cannot be reached.")), { once: true });
  });
  return new Response(body, { headers: { "X-Heartbeat": "none" } });
}
