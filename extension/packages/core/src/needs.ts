/**
 * What needs the person, ordered by what it blocks.
 *
 * An approval blocks what asked for it and everything that depends on that; one that a running command waits
 * for also holds a worker. A question blocks the answer. A failure blocks what depends on it until somebody
 * retries it or says "seen".
 */
import type { Approval, Job, Landing, MessageView, SessionView, TaskView } from "./protocol.gen.js";
import type { StoreState } from "./store.js";

export type NeedsYou =
  | { readonly kind: "approval"; readonly id: string; readonly title: string; readonly since: string;
      readonly blocks: readonly string[]; readonly approval: Approval; readonly weight: number }
  | { readonly kind: "question"; readonly id: string; readonly title: string; readonly since: string;
      readonly blocks: readonly string[]; readonly message: MessageView; readonly weight: number }
  | { readonly kind: "failure"; readonly id: string; readonly title: string; readonly since: string;
      readonly blocks: readonly string[]; readonly why: string; readonly job: Job | null;
      readonly landing: Landing | null; readonly task: TaskView | null; readonly weight: number };

/** Landings that ended without landing, through nobody's wish. */
const BROKEN: ReadonlySet<string> = new Set(["conflict", "rejected", "failed", "stale"]);

export function needsYou(state: StoreState): NeedsYou[] {
  const jobs = state.snapshot?.jobs ?? [];
  const landings = state.snapshot?.landings ?? [];
  const found: NeedsYou[] = [
    ...openApprovals(state).map((approval): NeedsYou => {
      const blocks = waitingFor(approval.jobId ?? null, jobs);
      const holds = jobs.some((job) => job.id === approval.jobId && job.status === "claimed") ? 10 : 0;
      return {
        kind: "approval", id: approval.id, title: approval.summary, since: approval.createdAt, approval,
        blocks, weight: 100 + holds + blocks.length,
      };
    }),
    ...question(state.view),
    ...failures(state, jobs, landings),
  ];
  return found.sort((a, b) => b.weight - a.weight || a.since.localeCompare(b.since));
}

/** Open approvals: the hub's records, without those that events closed since. */
export function openApprovals(state: StoreState): Approval[] {
  return (state.snapshot?.approvals ?? []).filter((approval) => {
    const seen = state.view.approvals.get(approval.id);
    return approval.state === "open" && (seen === undefined || seen.state === "open");
  });
}

/** Titles of jobs that wait for `id`, directly or not. */
export function waitingFor(id: string | null, jobs: readonly Job[]): string[] {
  if (id === null) return [];
  const found = new Map<string, string>();
  const queue = [id];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const job of jobs) {
      if (job.dependsOn?.includes(next) && job.status === "blocked" && !found.has(job.id)) {
        found.set(job.id, job.title || job.kind);
        queue.push(job.id);
      }
    }
  }
  return [...found.values()];
}

function question(view: SessionView): NeedsYou[] {
  const message = view.messages.at(-1);
  if (message === undefined || message.person || !/\?\s*$/.test(message.text)) return [];
  return [{
    kind: "question", id: message.id, title: message.text, since: message.ts, message, blocks: [], weight: 90,
  }];
}

function failures(state: StoreState, jobs: readonly Job[], landings: readonly Landing[]): NeedsYou[] {
  const found: NeedsYou[] = [];
  const told = new Set<string>();
  for (const landing of landings) {
    if (!BROKEN.has(landing.state) || superseded(landing, landings)) continue;
    if (landing.state === "stale" && landing.cause?.startsWith("a newer head")) continue;
    if (landing.taskId) told.add(landing.taskId);
    if (landing.approvalId && state.view.approvals.get(landing.approvalId)?.state === "denied") continue;
    found.push({
      kind: "failure", id: landing.id, title: landing.title, since: landing.since || landing.updatedAt || "",
      why: landing.cause ?? landing.state, job: null, landing, task: null,
      blocks: waitingFor(landing.jobId ?? null, jobs), weight: 50,
    });
  }
  for (const job of jobs) {
    if (job.status !== "failed") continue;
    told.add(job.taskId);
    const blocks = waitingFor(job.id, jobs);
    found.push({
      kind: "failure", id: job.id, title: job.title || job.kind, since: job.finishedAt ?? job.updatedAt ?? "",
      why: job.error?.message ?? "it failed", job, landing: null, task: null, blocks, weight: 50 + blocks.length,
    });
  }
  for (const task of state.view.tasks.values()) {
    if (task.state !== "failed" || told.has(task.id)) continue;
    found.push({
      kind: "failure", id: task.id, title: task.title, since: task.since, why: task.summary ?? "it failed",
      job: null, landing: null, task, blocks: [], weight: 50,
    });
  }
  return found.filter((item) => !state.dismissed.has(item.id));
}

function superseded(landing: Landing, landings: readonly Landing[]): boolean {
  return landings.some(
    (other) =>
      other.id !== landing.id && other.branch === landing.branch &&
      (other.createdAt ?? "") > (landing.createdAt ?? ""),
  );
}
