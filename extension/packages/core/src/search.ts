/** Words in the history: by the hub where it can search, else by reading what is kept. */
import { readPage, sessionPath } from "./history.js";
import { Refusal, type CursoredEvent, type Transport } from "./transport.js";

export const MOST_HITS = 500;
const MOST_PAGES = 40;

interface Found {
  readonly items: readonly CursoredEvent[];
  readonly next: number | null;
}

/**
 * Events that hold `query`, newest first. The hub finds what was said, by whole words, the last one as a
 * beginning; reading finds any part of any event. `onProgress` is called with what was found so far.
 */
export async function search(
  transport: Pick<Transport, "request">, session: string, query: string, last: number,
  onProgress: (found: readonly CursoredEvent[]) => void, signal: AbortSignal,
): Promise<CursoredEvent[]> {
  try {
    return await ask(transport, session, `${query}*`, onProgress, signal);
  } catch (error) {
    // A hub that cannot search. Where it can, a refusal of the words is one of ours to tell.
    if (!(error instanceof Refusal && (error.status === 404 || error.status === 405))) throw error;
  }
  const needle = query.toLocaleLowerCase();
  const found: CursoredEvent[] = [];
  for (let page = 0, end = last; page < MOST_PAGES && end > 0 && found.length < MOST_HITS && !signal.aborted; page += 1) {
    const after = Math.max(0, end - 1_000);
    const { items } = await readPage(transport, session, after, { limit: Math.min(1_000, end - after), signal });
    for (const event of [...items].reverse()) {
      if (event.cursor <= end && matches(event, needle)) found.push(event);
    }
    end = after;
    onProgress(found);
  }
  return found;
}

async function ask(
  transport: Pick<Transport, "request">, session: string, query: string, onProgress: (found: readonly CursoredEvent[]) => void,
  signal: AbortSignal,
): Promise<CursoredEvent[]> {
  const found: CursoredEvent[] = [];
  for (let before: number | null = null; found.length < MOST_HITS; ) {
    const from: string = before === null ? "" : `&before=${before}`;
    const path = `${sessionPath(session)}/search?q=${encodeURIComponent(query)}&limit=100${from}`;
    const page: Found = await transport.request<Found>("GET", path, undefined, { signal });
    found.push(...page.items);
    onProgress(found);
    if (page.next === null) break;
    before = page.next;
  }
  return found;
}

/** Whether an event's words hold `needle`, which is lower case. Names of fields do not count. */
export function matches(event: CursoredEvent, needle: string): boolean {
  return event.envelope.type.includes(needle) || holds(event.envelope.payload, needle) || (event.envelope.from ?? "").toLowerCase().includes(needle);
}

function holds(value: unknown, needle: string): boolean {
  if (typeof value === "string") return value.toLocaleLowerCase().includes(needle);
  if (Array.isArray(value)) return value.some((one) => holds(one, needle));
  if (typeof value === "object" && value !== null) return Object.values(value).some((one) => holds(one, needle));
  return false;
}
