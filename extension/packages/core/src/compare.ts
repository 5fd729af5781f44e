/** What is different between two views of one session: the time machine's answer. */
import type { SessionView } from "./protocol.gen.js";

export interface Difference {
  readonly part: "messages" | "tasks" | "jobs" | "approvals" | "landings" | "workers" | "lanes";
  readonly title: string;
  /** `null`: it was not there yet. */
  readonly before: string | null;
  readonly after: string | null;
}

export function compare(before: SessionView, after: SessionView): Difference[] {
  const found: Difference[] = [];
  const states = <V extends { readonly state: string }>(
    part: Difference["part"], old: ReadonlyMap<string, V>, fresh: ReadonlyMap<string, V>, title: (one: V) => string,
  ): void => {
    for (const [id, one] of fresh) {
      const was = old.get(id)?.state ?? null;
      if (was !== one.state) found.push({ part, title: title(one), before: was, after: one.state });
    }
  };
  states("tasks", before.tasks, after.tasks, (task) => task.title);
  states("jobs", before.jobs, after.jobs, (job) => `${job.kind} ${job.id}`);
  states("approvals", before.approvals, after.approvals, (asked) => asked.summary);
  states("landings", before.landings, after.landings, (landing) => landing.head?.slice(0, 12) ?? landing.id);
  for (const [id, lane] of after.lanes) {
    const was = before.lanes.get(id)?.mode ?? null;
    if (was !== lane.mode) found.push({ part: "lanes", title: id, before: was, after: lane.mode });
  }
  const known = new Set(before.messages.map(({ id }) => id));
  for (const message of after.messages) {
    if (!known.has(message.id)) found.push({ part: "messages", title: `${message.by}: ${message.text}`, before: null, after: null });
  }
  return found;
}
