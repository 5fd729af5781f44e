/** Pages of the past. */
import type { CursoredEvent, RequestOptions, Transport } from "./transport.js";

export interface History {
  readonly items: readonly CursoredEvent[];
  /** The cursor to ask for next, or `null` at the end. */
  readonly next: number | null;
  readonly last: number;
}

export const sessionPath = (session: string): string => `sessions/${encodeURIComponent(session)}`;

export interface PageOptions extends RequestOptions {
  types?: readonly string[];
  limit?: number;
}

/** One page after a cursor, oldest first. */
export function readPage(
  transport: Pick<Transport, "request">, session: string, after: number, options: PageOptions = {},
): Promise<History> {
  const { types, limit = 1_000, ...rest } = options;
  const only = types ? `&types=${types.map(encodeURIComponent).join(",")}` : "";
  return transport.request<History>(
    "GET", `${sessionPath(session)}/history?after=${after}&limit=${limit}${only}`, undefined, rest,
  );
}

/** Everything after `after` up to and with `until`, at most `most` events. */
export async function readRange(
  transport: Pick<Transport, "request">, session: string, after: number, until: number, most = 50_000,
  options: PageOptions = {},
): Promise<CursoredEvent[]> {
  const found: CursoredEvent[] = [];
  for (;;) {
    const page = await readPage(transport, session, after, options);
    for (const event of page.items) if (event.cursor <= until) found.push(event);
    if (page.next === null || page.next >= until || found.length >= most) return found;
    after = page.next;
  }
}
