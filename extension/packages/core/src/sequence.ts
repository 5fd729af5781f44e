/**
 * Puts what a lossy connection delivers back into the order of the history.
 *
 * Events at or before `last` are dropped, so overlaps and repeats are harmless. A hole is filled from the
 * history, page by page, before anything after it is delivered; the events that revealed the hole are in
 * the history too, so nothing is kept while it is filled. The history is the authority: what it does not
 * have was pruned, and is no hole.
 */
import type { History } from "./history.js";
import type { CursoredEvent } from "./transport.js";

export const PAGE = 1_000;

export type ReadPage = (after: number, limit: number) => Promise<History>;

export class Sequencer {
  private filling: Promise<void> | null = null;
  private target = 0;
  private stopped = false;

  constructor(
    public last: number,
    private readonly page: ReadPage,
    private readonly deliver: (batch: readonly CursoredEvent[]) => void,
  ) {}

  /** Take what came. Resolves when everything up to its end was delivered. */
  async push(batch: readonly CursoredEvent[]): Promise<void> {
    const end = batch.at(-1)?.cursor ?? 0;
    if (end <= this.last || this.stopped) return;
    if (this.filling !== null) return this.catchUp(end);
    const fresh = batch.filter((event) => event.cursor > this.last);
    let expected = this.last + 1;
    for (const event of fresh) if (event.cursor !== expected++) return this.catchUp(end);
    this.last = end;
    this.deliver(fresh);
  }

  /** Read the history until `target` was delivered. Rejects when the history cannot be read. */
  async catchUp(target: number): Promise<void> {
    this.target = Math.max(this.target, target);
    this.filling ??= this.fill().finally(() => {
      this.filling = null;
    });
    return this.filling;
  }

  /** Go on after `cursor`, whatever was before. */
  restart(cursor: number): void {
    this.last = cursor;
    this.target = cursor;
  }

  stop(): void {
    this.stopped = true;
  }

  private async fill(): Promise<void> {
    while (this.last < this.target && !this.stopped) {
      const page = await this.page(this.last, PAGE);
      const fresh = page.items.filter((event) => event.cursor > this.last);
      if (this.stopped) return;
      const end = fresh.at(-1)?.cursor;
      if (end === undefined) {
        this.last = Math.max(this.last, this.target);
        return;
      }
      this.last = end;
      this.deliver(fresh);
    }
  }
}
