/**
 * Events in, view out: the fold of `pushpals/protocol/fold.py` in the browser's language.
 *
 * `apply` is pure, shares every part that the event did not touch, and ignores events at or before the
 * view's cursor, so that an overlap of snapshot and stream is harmless. Both implementations fold the same
 * fixtures (`tests/fixtures/fold`) to the same views.
 */
import {
  KEEP,
  KEEP_DIFFS,
  KEEP_EVIDENCE,
  KEEP_LINES,
  KEEP_PROBLEMS,
  JOB_ENDS,
  LANDING_ENDS,
  type AgentView,
  type ApprovalView,
  type Envelope,
  type EventType,
  type JobView,
  type LandingView,
  type OutputView,
  type Payloads,
  type SessionView,
  type TaskView,
} from "./protocol.gen.js";
import type { CursoredEvent } from "./transport.js";

const NONE: ReadonlyMap<string, never> = new Map<string, never>();

export const EMPTY: SessionView = {
  sessionId: "", cursor: 0, ts: "", messages: [], plans: NONE, tasks: NONE, jobs: NONE, output: NONE, diffs: [],
  approvals: NONE, landings: NONE, artifacts: NONE, agents: NONE, workers: NONE, lanes: NONE, delegations: NONE,
  suggestions: [], problems: [],
};

type Changes = Partial<SessionView>;
type Known<T extends EventType = EventType> = Envelope<T> & { readonly cursor: number };
type Step<T extends EventType> = (view: SessionView, event: Known<T>, payload: Payloads[T]) => Changes;

/** The view after `events`, in their order, starting from `view`. */
export function fold(events: Iterable<CursoredEvent>, view: SessionView = EMPTY): SessionView {
  for (const event of events) view = apply(view, event);
  return view;
}

/** The view after one event. A type that this version does not know moves the cursor only. */
export function apply(view: SessionView, { cursor, envelope }: CursoredEvent): SessionView {
  if (cursor <= view.cursor) return view;
  const step = Object.hasOwn(STEPS, envelope.type) ? (STEPS[envelope.type as EventType] as Step<EventType>) : nothing;
  const changes = step(view, { ...envelope, cursor } as Known, envelope.payload as Payloads[EventType]);
  return { ...view, sessionId: envelope.sessionId, cursor, ts: envelope.ts, ...changes };
}

/**
 * The job that an event is about: named by the payload, by its agent branch or by the envelope; else the
 * only one that the sender can mean.
 */
export function jobOf(view: SessionView, event: Envelope): string | null {
  const payload = event.payload as { jobId?: unknown; branch?: unknown };
  if (typeof payload.jobId === "string") return payload.jobId;
  if ((event.type === "diff_ready" || event.type === "committed") && isAgentBranch(payload.branch)) {
    return payload.branch.slice(payload.branch.lastIndexOf("/") + 1);
  }
  for (const reference of [event.correlationId, event.parentId, event.turnId]) {
    if (reference != null && view.jobs.has(reference)) return reference;
  }
  let running = [...view.output.keys()].map((id) => view.jobs.get(id)).filter((job) => job !== undefined);
  const task = event.correlationId;
  if (task != null && view.tasks.has(task)) running = running.filter((job) => job.taskId === task);
  if (running.length > 1 && event.from != null) {
    running = running.filter((job) => `worker:${job.workerId}` === event.from);
  }
  return running.length === 1 ? running[0]!.id : null;
}

const isAgentBranch = (branch: unknown): branch is string =>
  typeof branch === "string" && branch.startsWith("agent/");

// --- collections ----------------------------------------------------------------------------------------

function put<V>(parts: ReadonlyMap<string, V>, key: string, value: V): ReadonlyMap<string, V> {
  const made = new Map(parts).set(key, value);
  if (made.size > KEEP) made.delete(made.keys().next().value!);
  return made;
}

function putEndedLast<V extends { readonly state: string }>(
  parts: ReadonlyMap<string, V>, key: string, value: V, ended: (part: V) => boolean,
): ReadonlyMap<string, V> {
  const made = new Map(parts).set(key, value);
  if (made.size > KEEP) {
    let leaves = made.keys().next().value!;
    for (const [id, part] of made) if (ended(part)) { leaves = id; break; }
    made.delete(leaves);
  }
  return made;
}

function without<V>(parts: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  if (!parts.has(key)) return parts;
  const made = new Map(parts);
  made.delete(key);
  return made;
}

const last = <V>(items: readonly V[], more: V, most: number): readonly V[] => [...items, more].slice(-most);

export const jobEnded = (job: { readonly state: JobView["state"] }): boolean => JOB_ENDS.has(job.state);
export const approvalEnded = (asked: { readonly state: string }): boolean => asked.state !== "open";
export const landingEnded = (landing: { readonly state: string }): boolean =>
  (LANDING_ENDS as ReadonlySet<string>).has(landing.state);

// --- what was said --------------------------------------------------------------------------------------

function said(view: SessionView, event: Known<"message" | "assistant_message">): Changes {
  const payload = event.payload as Payloads["message"];
  const person = event.type === "message";
  const message = {
    cursor: event.cursor, id: event.id, ts: event.ts, by: event.from || (person ? "client" : "agent"),
    text: payload.text, person, to: event.to ?? null, intent: person ? (payload.intent ?? null) : null,
    turnId: event.turnId ?? null,
  };
  return { messages: last(view.messages, message, KEEP) };
}

// --- tasks and jobs -------------------------------------------------------------------------------------

function changeTask(view: SessionView, event: Known, id: string, changes: Partial<TaskView>): Changes {
  const task = view.tasks.get(id);
  if (task === undefined) return {};
  const since = "state" in changes ? { since: event.ts } : {};
  return { tasks: put(view.tasks, id, { ...task, seen: event.cursor, ...changes, ...since }) };
}

function changeJob(view: SessionView, event: Known, id: string | null, changes: Partial<JobView>): Changes {
  const job = id === null ? undefined : view.jobs.get(id);
  if (job === undefined) return {};
  const since = "state" in changes ? { since: event.ts } : {};
  const made = { ...job, seen: event.cursor, ...changes, ...since };
  const result: { -readonly [K in keyof SessionView]?: SessionView[K] } = {
    jobs: new Map(view.jobs).set(job.id, made),
  };
  if (made.state !== "claimed") result.output = without(view.output, job.id);
  return result;
}

function changeOutput(view: SessionView, id: string, output: OutputView): Changes {
  return { output: new Map(view.output).set(id, output) };
}

// --- approvals and landings -----------------------------------------------------------------------------

function changeApproval(view: SessionView, event: Known, id: string, changes: Partial<ApprovalView>): Changes {
  const asked = view.approvals.get(id);
  if (asked === undefined) return {};
  const since = (changes.state ?? asked.state) !== asked.state ? { since: event.ts } : {};
  return { approvals: new Map(view.approvals).set(id, { ...asked, seen: event.cursor, ...changes, ...since }) };
}

function agent(event: Known, id: string, state: string, detail: string | null | undefined): AgentView {
  return { seen: event.cursor, id, state, since: event.ts, detail: detail ?? null };
}

const nothing = (): Changes => ({});

/** An event type without a step changes nothing but the cursor; the shared fixtures say which those are. */
const STEPS: { readonly [T in EventType]?: Step<T> } = {
  message: said,
  assistant_message: said,

  error: (view, event, payload) =>
    payload.message.startsWith("unknown event type ")
      ? {}
      : {
          problems: last(
            view.problems,
            { cursor: event.cursor, ts: event.ts, message: payload.message, detail: payload.detail ?? null },
            KEEP_PROBLEMS,
          ),
        },
  suggestions: (_view, _event, payload) => ({ suggestions: payload.items }),
  plan_made: (view, event, payload) => ({
    plans: put(view.plans, payload.messageId, {
      cursor: event.cursor, id: payload.planId, messageId: payload.messageId, understanding: payload.understanding,
      steps: payload.steps, planner: payload.planner ?? "rules",
    }),
  }),
  delegate_request: (view, event, payload) => ({
    delegations: put(view.delegations, payload.requestId, {
      cursor: event.cursor, id: payload.requestId, by: event.from || "client", to: payload.toAgentId, ok: null,
      error: null,
    }),
  }),
  delegate_response: (view, _event, payload) => {
    const asked = view.delegations.get(payload.requestId);
    if (asked === undefined) return {};
    const answered = { ...asked, ok: payload.ok, error: payload.error ?? null };
    return { delegations: put(view.delegations, asked.id, answered) };
  },

  task_created: (view, event, payload) => ({
    tasks: put(view.tasks, payload.taskId, {
      cursor: event.cursor, seen: event.cursor, id: payload.taskId, title: payload.title,
      description: payload.description, createdBy: payload.createdBy, state: "created", since: event.ts,
      messageId: event.turnId ?? null, jobs: [], progress: null, percent: null, summary: null, detail: null,
      artifacts: [],
    }),
  }),
  task_started: (view, event, payload) => changeTask(view, event, payload.taskId, { state: "started" }),
  task_progress: (view, event, payload) =>
    changeTask(view, event, payload.taskId, { progress: payload.message, percent: payload.percent ?? null }),
  task_completed: (view, event, payload) =>
    changeTask(view, event, payload.taskId, {
      state: "completed", summary: payload.summary, detail: null, artifacts: payload.artifacts ?? [],
    }),
  task_failed: (view, event, payload) =>
    changeTask(view, event, payload.taskId, {
      state: "failed", summary: payload.message, detail: payload.detail ?? null,
    }),

  job_enqueued: (view, event, payload) => {
    if (view.jobs.has(payload.jobId)) return {};
    const job: JobView = {
      cursor: event.cursor, seen: event.cursor, id: payload.jobId, taskId: payload.taskId, kind: payload.kind,
      params: payload.params, state: "pending", since: event.ts, attempt: 0, workerId: null, base: null,
      sandbox: null, why: null, errorClass: null, detail: null, retryAt: null, cancelBy: null, summary: null,
      branch: null, commit: null, evidence: [], artifacts: [],
    };
    const task = view.tasks.get(payload.taskId);
    const grown = task ? changeTask(view, event, task.id, { jobs: last(task.jobs, job.id, KEEP) }) : {};
    return { jobs: putEndedLast(view.jobs, job.id, job, jobEnded), ...grown };
  },
  job_deferred: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      state: payload.dependsOn?.length ? "blocked" : "scheduled", retryAt: payload.runAt ?? null,
    }),
  job_claimed: (view, event, payload) => {
    const job = view.jobs.get(payload.jobId);
    if (job === undefined) return {};
    return {
      ...changeJob(view, event, job.id, {
        state: "claimed", workerId: payload.workerId, attempt: job.attempt + 1, why: null, errorClass: null,
        detail: null, retryAt: null, cancelBy: null, summary: null, evidence: [], artifacts: [],
      }),
      ...changeOutput(view, job.id, { lines: [], count: 0, commands: [] }),
    };
  },
  job_based: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      base: payload.base, attempt: payload.attempt, sandbox: payload.sandbox ?? null,
    }),
  job_requeued: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      state: payload.retryAt ? "scheduled" : "pending", workerId: null, attempt: payload.attempt,
      why: payload.reason, errorClass: payload.errorClass ?? null, retryAt: payload.retryAt ?? null, cancelBy: null,
    }),
  job_lease_lost: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      state: "pending", workerId: null, attempt: payload.attempt, why: `${payload.workerId} went silent`,
      errorClass: "lost",
    }),
  job_completed: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      state: "completed", summary: payload.summary ?? null, why: null, artifacts: payload.artifacts ?? [],
    }),
  job_failed: (view, event, payload) =>
    changeJob(view, event, payload.jobId, { state: "failed", why: payload.message, detail: payload.detail ?? null }),
  job_cancel_requested: (view, event, payload) =>
    changeJob(view, event, payload.jobId, { cancelBy: payload.by, why: payload.reason ?? null }),
  job_cancelled: (view, event, payload) =>
    changeJob(view, event, payload.jobId, {
      state: "cancelled", cancelBy: payload.by, why: payload.reason ?? null,
    }),
  job_log: (view, _event, payload) => {
    const output = view.output.get(payload.jobId);
    if (output === undefined) return {};
    const lines = last(output.lines, payload.line, KEEP_LINES);
    return changeOutput(view, payload.jobId, { ...output, lines, count: output.count + 1 });
  },
  tool_call: (view, event, payload) => {
    const id = jobOf(view, event);
    const output = id === null ? undefined : view.output.get(id);
    if (id === null || output === undefined) return {};
    const command = { toolCallId: payload.toolCallId, tool: payload.tool, args: payload.args, since: event.ts };
    return changeOutput(view, id, { ...output, commands: last(output.commands, command, KEEP_LINES) });
  },
  tool_result: (view, _event, payload) => {
    for (const [id, output] of view.output) {
      const left = output.commands.filter((command) => command.toolCallId !== payload.toolCallId);
      if (left.length !== output.commands.length) return changeOutput(view, id, { ...output, commands: left });
    }
    return {};
  },
  diff_ready: (view, event, payload) => {
    const jobId = jobOf(view, event);
    const diff = {
      cursor: event.cursor, jobId, unifiedDiff: payload.unifiedDiff, diffStat: payload.diffStat,
      branch: payload.branch,
    };
    const kept = view.diffs.filter((old) => jobId === null || old.jobId !== jobId);
    return { diffs: last(kept, diff, KEEP_DIFFS), ...changeJob(view, event, jobId, { branch: payload.branch }) };
  },
  committed: (view, event, payload) =>
    isAgentBranch(payload.branch)
      ? changeJob(view, event, jobOf(view, event), { branch: payload.branch, commit: payload.commitHash })
      : {},
  check_finished: (view, event, payload) => {
    const landing = view.landings.get(payload.landingId ?? "");
    if (landing !== undefined) {
      const evidence = last(landing.evidence, payload.evidence, KEEP_EVIDENCE);
      return { landings: new Map(view.landings).set(landing.id, { ...landing, seen: event.cursor, evidence }) };
    }
    const job = view.jobs.get(jobOf(view, event) ?? "");
    if (job === undefined) return {};
    return changeJob(view, event, job.id, { evidence: last(job.evidence, payload.evidence, KEEP_EVIDENCE) });
  },
  artifact_stored: (view, event, payload) => ({
    artifacts: put(view.artifacts, payload.sha256, {
      cursor: event.cursor, sha256: payload.sha256, size: payload.size, kind: payload.kind,
      jobId: payload.jobId ?? null,
    }),
  }),

  approval_required: (view, event, payload) => {
    const asked: ApprovalView = {
      cursor: event.cursor, seen: event.cursor, id: payload.approvalId, action: payload.action,
      summary: payload.summary, details: payload.details, state: "open", since: event.ts, by: null, tokenId: null,
      device: null, reason: null,
    };
    return { approvals: putEndedLast(view.approvals, asked.id, asked, approvalEnded) };
  },
  approved: (view, event, payload) => changeApproval(view, event, payload.approvalId, { state: "approved" }),
  denied: (view, event, payload) => changeApproval(view, event, payload.approvalId, { state: "denied" }),
  approval_decided: (view, event, payload) =>
    changeApproval(view, event, payload.approvalId, {
      by: payload.by, tokenId: payload.tokenId, device: payload.device ?? null, reason: payload.reason ?? null,
    }),
  approval_expired: (view, event, payload) => changeApproval(view, event, payload.approvalId, { state: "expired" }),
  approval_void: (view, event, payload) =>
    changeApproval(view, event, payload.approvalId, { state: "void", reason: payload.reason }),
  landing_moved: (view, event, payload) => {
    const old = view.landings.get(payload.landingId);
    const landing: LandingView = {
      cursor: old?.cursor ?? event.cursor, seen: event.cursor, id: payload.landingId, state: payload.state,
      previous: payload.previous, since: event.ts, jobId: payload.jobId || (old?.jobId ?? null),
      head: payload.head || (old?.head ?? null), cause: payload.cause ?? null,
      facts: { ...old?.facts, ...payload.facts }, evidence: old?.evidence ?? [],
    };
    return { landings: putEndedLast(view.landings, landing.id, landing, landingEnded) };
  },

  overlap_found: (view, event, payload) => {
    const landing = view.landings.get(payload.landingId);
    if (landing === undefined) return {};
    const overlaps = { ...(landing.facts["overlaps"] as object | undefined), [payload.otherId]: payload.conflict };
    const facts = { ...landing.facts, overlaps };
    return { landings: new Map(view.landings).set(landing.id, { ...landing, seen: event.cursor, facts }) };
  },

  agent_status: (view, event, payload) => ({
    agents: put(view.agents, payload.agentId, agent(event, payload.agentId, payload.status, payload.message)),
  }),
  status: (view, event, payload) => ({
    agents: put(view.agents, payload.agentId, agent(event, payload.agentId, payload.state, payload.detail)),
  }),
  worker_changed: (view, event, payload) => ({
    workers: put(view.workers, payload.workerId, agent(event, payload.workerId, payload.state, payload.detail)),
  }),
  lane_changed: (view, event, payload) => {
    const old = view.lanes.get(payload.lane);
    return {
      lanes: put(view.lanes, payload.lane, {
        seen: event.cursor, id: payload.lane, mode: payload.mode,
        since: old && old.mode === payload.mode ? old.since : event.ts,
        head: payload.head || (old?.head ?? null), cause: payload.cause ?? null,
      }),
    };
  },
};

/** A view as JSON, as the Python side writes it. */
export function toJson(view: SessionView): unknown {
  return JSON.parse(
    JSON.stringify(view, (_key, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value)),
  );
}
