// Written by `make schema` from the Python types; a test compares them. Do not edit.

export const PROTOCOL_VERSION = "0.1.0";

export const KEEP = 2000;
export const KEEP_DIFFS = 100;
export const KEEP_PROBLEMS = 50;
export const KEEP_LINES = 40;
export const KEEP_EVIDENCE = 200;

export type ApprovalKind = "land" | "exec" | "net" | "limits" | "unsandboxed" | "other";
export type ApprovalState = "open" | "approved" | "denied" | "expired" | "void" | "consumed";
export type AskState = "open" | "approved" | "denied" | "expired" | "void";
export type JobState = "blocked" | "scheduled" | "pending" | "claimed" | "completed" | "failed" | "cancelled";
export type LandingState = "submitted" | "needs_approval" | "queued" | "prepared" | "composed" | "checking" | "green" | "pushing" | "held" | "landed" | "noop" | "conflict" | "rejected" | "stale" | "cancelled" | "failed";
export type LaneMode = "open" | "paused" | "draining" | "frozen" | "red";
export type Role = "operator" | "viewer" | "notebook" | "buddy" | "worker" | "pusher";
export type TaskState = "created" | "started" | "completed" | "failed";
export type Verdict = "passed" | "failed" | "timed_out" | "could_not_run";
export type WorkerState = "idle" | "busy" | "draining" | "paused" | "gone";
export const JOB_ENDS: ReadonlySet<JobState> = new Set<JobState>(["cancelled", "completed", "failed"]);
export const LANDING_ENDS: ReadonlySet<LandingState> = new Set<LandingState>(["cancelled", "conflict", "failed", "landed", "noop", "rejected", "stale"]);
export const LANDING_WORKING: ReadonlySet<LandingState> = new Set<LandingState>(["checking", "composed", "green", "prepared", "pushing"]);

/** What the codes of a decision mean. */
export const REASONS: Readonly<Record<string, string>> = {
  "readonly": "every part is on the read-only list",
  "exec.plain": "an ordinary program, run from its argument list",
  "exec.interp": "runs code from the tree: a test runner, a build tool, an interpreter, a script",
  "exec.shell": "needs a shell: expansions, loops, functions, redirections to files",
  "exec.opaque": "starts something that cannot be seen from its argument list",
  "rule.allowed": "an allow rule of the operator covers every part",
  "not-readonly": "the preset asks about everything that is not on the read-only list",
  "net": "needs to reach a host",
  "install": "fetches or installs packages",
  "display": "contains characters that hide, reorder or imitate text",
  "land": "changes the target branch",
  "protected": "changes a path that decides how code is run, built or reviewed",
  "capability.missing": "needs a capability that the job was not given",
  "net.not-offered": "network grants need the full sandbox",
  "level.none": "there is no sandbox here, so everything is asked",
  "priv": "changes privileges, mounts, services or schedules",
  "containers": "drives a container engine or a cluster",
  "git-out": "moves work out of, or configuration into, git; landing does that",
  "git-opts": "points git at other configuration, programs or directories",
  "loader": "uses the dynamic loader as a launcher",
  "proc-path": "goes round the file system view through /proc, or opens a network device file",
  "env": "assigns a variable that changes which code runs",
  "argv0": "the executable's name is not plain ASCII, or the tree shadows a system program",
  "net.denied-address": "names an address, this machine, a private name or an unreadable host",
  "preset.locked": "the preset allows only the read-only list",
  "cwd.outside": "the working directory is not below the repository",
  "cwd.symlink": "the working directory is reached through a symbolic link",
  "action.too-large": "the action is longer than 64 KiB; nobody can read it",
  "policy.widening-ignored": "the repository's own policy tried to allow this; it may only tighten",
  "sandbox.required": "the policy wants the full sandbox, and there is none here",
  "approval.denied": "a person said no",
  "approval.expired": "nobody answered in time, which means no",
  "approval.stale": "what would run is not what was approved",
  "approval.void": "the question was taken back",
  "approval.nobody": "it has to be asked about, and there is nobody to ask here",
  "parse.empty": "there is nothing to run",
  "parse.nul": "contains a NUL character",
  "parse.cr": "contains a carriage return",
  "parse.encoding": "is not valid text",
  "parse.too-long": "the script is longer than 16 KiB",
  "parse.too-many": "more than 200 commands, or more operators than can be read in time",
  "parse.depth": "nested or wrapped too deeply",
  "parse.error": "bash would not accept it as written, or it cannot be read without doubt",
  "parse.continuation": "a line continuation inside a word",
};

/** What travels. An event type that this version does not know has a payload of unknown shape. */
export interface Envelope<T extends string = string> {
  readonly protocolVersion: string;
  readonly id: string;
  readonly ts: string;
  readonly sessionId: string;
  readonly type: T;
  readonly payload: T extends EventType ? Payloads[T] : unknown;
  readonly traceId?: string | null;
  readonly from?: string | null;
  readonly to?: string | null;
  readonly correlationId?: string | null;
  readonly parentId?: string | null;
  readonly turnId?: string | null;
}

/** What an agent is doing. */
export interface AgentStatus {
  readonly agentId: string;
  readonly status: "busy" | "error" | "idle";
  readonly message?: string | null;
}

/** What an agent or a process last said about itself. */
export interface AgentView {
  readonly seen: number;
  readonly id: string;
  readonly state: string;
  readonly since: string;
  readonly detail: string | null;
}

/** The record of one question to a person. Times are RFC 3339 stamps. */
export interface Approval {
  readonly id: string;
  readonly sessionId: string;
  readonly kind: ApprovalKind;
  readonly action: Readonly<Record<string, unknown>>;
  readonly actionHash: string;
  readonly summary: string;
  readonly state: ApprovalState;
  readonly requestedBy: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly says?: string | null;
  readonly jobId?: string | null;
  readonly landingId?: string | null;
  readonly scope?: "job" | "once" | "session";
  readonly decidedBy?: string | null;
  readonly decidedAt?: string | null;
  readonly tokenId?: string | null;
  readonly device?: string | null;
  readonly address?: string | null;
  readonly reason?: string | null;
  readonly attempt?: number;
  readonly capabilities?: readonly string[];
  readonly reasons?: readonly string[];
  readonly basis?: string | null;
  readonly used?: number;
  readonly usedAt?: string | null;
  readonly method?: string | null;
}

/** The yes was used: the executor ran exactly this, now. `basis` is what answered for a person. */
export interface ApprovalConsumed {
  readonly approvalId: string;
  readonly actionHash: string;
  readonly jobId?: string | null;
  readonly basis?: string | null;
}

/** Who decided what, where and with which token. Follows `approved` or `denied`. */
export interface ApprovalDecided {
  readonly approvalId: string;
  readonly decision: "approve" | "deny";
  readonly by: string;
  readonly tokenId: string;
  readonly actionHash: string;
  readonly device?: string | null;
  readonly reason?: string | null;
  readonly scope?: string | null;
  readonly address?: string | null;
  readonly method?: string | null;
  readonly basis?: string | null;
}

/** Nobody answered in time, and that means no. */
export interface ApprovalExpired {
  readonly approvalId: string;
}

/** A person must decide. `details` holds the exact action and its `actionHash`. */
export interface ApprovalRequired {
  readonly approvalId: string;
  readonly action: "git.commit" | "git.push" | "other";
  readonly summary: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A question to a person, and the answer with who gave it. */
export interface ApprovalView {
  readonly cursor: number;
  readonly seen: number;
  readonly id: string;
  readonly action: string;
  readonly summary: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly state: AskState;
  readonly since: string;
  readonly by: string | null;
  readonly tokenId: string | null;
  readonly device: string | null;
  readonly reason: string | null;
}

/** What was to be approved is no longer what would happen. */
export interface ApprovalVoid {
  readonly approvalId: string;
  readonly reason: string;
}

export interface Approvals {
  readonly items: readonly Approval[];
  readonly next: string | null;
  readonly counts: Readonly<Record<string, number>> | null;
}

/** An operator said yes. */
export interface Approved {
  readonly approvalId: string;
}

/** A result to look at: `uri` (`artifact:<sha256>`) or short `text`. */
export interface Artifact {
  readonly kind: string;
  readonly uri?: string | null;
  readonly text?: string | null;
}

/** A blob is in the content-addressed store. `size` in bytes. */
export interface ArtifactStored {
  readonly sha256: string;
  readonly size: number;
  readonly kind: string;
  readonly jobId?: string | null;
}

/** A blob of the content-addressed store. `size` in bytes. */
export interface ArtifactView {
  readonly cursor: number;
  readonly sha256: string;
  readonly size: number;
  readonly kind: string;
  readonly jobId: string | null;
}

/** A buddy answered. */
export interface AssistantMessage {
  readonly text: string;
}

/** How long a job may wait, work and finish, in seconds, and how much it may change. */
export interface Budget {
  readonly queueS?: number;
  readonly runS?: number;
  readonly finalS?: number;
  readonly changedFiles?: number;
  readonly changedBytes?: number;
}

export interface CancelJob {
  readonly reason?: string | null;
}

/** The commit that is tested and, if green, pushed: `commit` with `tree` on top of `base`. */
export interface Candidate {
  readonly base: string;
  readonly commit: string;
  readonly tree: string;
}

/** A check ran (or could not), with the evidence that says so. */
export interface CheckFinished {
  readonly evidence: Evidence;
  readonly jobId?: string | null;
  readonly landingId?: string | null;
}

/** A named check of a repository. `timeout_s` is wall time in seconds. */
export interface CheckSpec {
  readonly name: string;
  readonly argv: readonly string[];
  readonly timeoutS?: number;
  readonly required?: boolean;
  readonly cwd?: string;
}

/** A command that is running now. */
export interface CommandView {
  readonly toolCallId: string;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly since: string;
}

/** A commit exists: an agent's on its branch, or a landed one on main. */
export interface Committed {
  readonly branch: string;
  readonly commitHash: string;
  readonly message: string;
}

/** How many tests did what. */
export interface Counts {
  readonly passed?: number;
  readonly failed?: number;
  readonly errors?: number;
  readonly skipped?: number;
}

/** `POST /sessions`. A missing or blank id asks for a new one. */
export interface CreateSession {
  readonly sessionId?: string | null;
  readonly label?: string;
  readonly capabilities?: readonly string[] | null;
}

/** Somebody asked the history in SQL. `statement` is redacted and cut, values are not kept. */
export interface DataQueried {
  readonly by: string;
  readonly tokenId: string;
  readonly statement: string;
  readonly outcome: "answered" | "refused" | "stopped";
  readonly seen?: readonly string[] | null;
  readonly rows?: number | null;
  readonly seconds?: number | null;
  readonly reason?: string | null;
}

/** `POST /approvals/:id`. A yes must name the `action_hash` of what it says yes to. */
export interface Decide {
  readonly decision: "approve" | "deny";
  readonly actionHash?: string | null;
  readonly reason?: string | null;
  readonly device?: string | null;
  readonly scope?: "job" | "once" | "session";
  readonly ttlS?: number | null;
}

export interface Decided {
  readonly approval: Approval;
  readonly ok: boolean;
}

/** One agent asks another. */
export interface DelegateRequest {
  readonly requestId: string;
  readonly toAgentId: string;
  readonly input: unknown;
}

/** The other agent's answer. */
export interface DelegateResponse {
  readonly requestId: string;
  readonly ok: boolean;
  readonly output?: unknown;
  readonly error?: string | null;
}

/** One agent asked another. `ok` is `None` while the answer is out. */
export interface DelegationView {
  readonly cursor: number;
  readonly id: string;
  readonly by: string;
  readonly to: string;
  readonly ok: boolean | null;
  readonly error: string | null;
}

/** An operator said no. */
export interface Denied {
  readonly approvalId: string;
}

/** A job produced a change on a branch. */
export interface DiffReady {
  readonly unifiedDiff: string;
  readonly diffStat: string;
  readonly branch: string;
}

/** The change that a job made. */
export interface DiffView {
  readonly cursor: number;
  readonly jobId: string | null;
  readonly unifiedDiff: string;
  readonly diffStat: string;
  readonly branch: string;
}

/** A turn ended. */
export interface Done {
  readonly ok: boolean;
}

/** `POST /jobs/enqueue`. The first four fields are the original wire. */
export interface Enqueue {
  readonly taskId: string;
  readonly kind: string;
  readonly sessionId?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly title?: string;
  readonly priority?: "background" | "interactive" | "normal";
  readonly base?: string | null;
  readonly target?: string;
  readonly paths?: readonly string[];
  readonly checks?: readonly string[] | null;
  readonly budget?: Budget;
  readonly needs?: readonly string[];
  readonly dependsOn?: readonly string[];
  readonly maxAttempts?: number;
  readonly capabilities?: readonly string[] | null;
  readonly tainted?: boolean;
  readonly runAt?: string | null;
  readonly messageId?: string | null;
  readonly note?: string | null;
  readonly repository?: string;
  readonly forWorker?: string | null;
}

export interface Enqueued {
  readonly jobId: string;
  readonly ok: boolean;
}

/** Something failed that no other event names. */
export interface ErrorPayload {
  readonly message: string;
  readonly detail?: string | null;
}

/** One command that was run to find something out, and on what: a receipt. */
export interface Evidence {
  readonly check: string;
  readonly argv: readonly string[];
  readonly verdict: Verdict;
  readonly commit: string;
  readonly tree: string;
  readonly exitCode?: number | null;
  readonly seconds?: number;
  readonly counts?: Counts | null;
  readonly failures?: readonly string[];
  readonly detail?: string | null;
  readonly output?: string | null;
  readonly sandbox?: string;
  readonly environment?: string;
  readonly runBy?: string;
}

/** One path of a diff. `status` as git says it: A, M, D, R, C or T. */
export interface FileChange {
  readonly path: string;
  readonly status: string;
  readonly oldPath?: string | null;
  readonly added?: number;
  readonly deleted?: number;
  readonly binary?: boolean;
  readonly oldMode?: string | null;
  readonly newMode?: string | null;
  readonly protected?: boolean;
}

/** What the pusher is about to push, stored before it does. Recovery compares the remote with it. */
export interface Intent {
  readonly remote: string;
  readonly targetRef: string;
  readonly old: string;
  readonly new: string;
  readonly agentRef: string;
  readonly head: string;
  readonly commit: string;
  readonly recordRef: string;
  readonly recordOld?: string | null;
  readonly batch?: readonly string[];
}

/** A job as the hub keeps it. Times are RFC 3339 stamps; leases are in seconds. */
export interface Job {
  readonly id: string;
  readonly sessionId: string;
  readonly taskId: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly status: JobState;
  readonly priority?: "background" | "interactive" | "normal";
  readonly title?: string;
  readonly base?: string | null;
  readonly target?: string;
  readonly paths?: readonly string[];
  readonly checks?: readonly string[] | null;
  readonly budget?: Budget;
  readonly needs?: readonly string[];
  readonly capabilities?: readonly string[] | null;
  readonly tainted?: boolean;
  readonly tokenId?: string | null;
  readonly dependsOn?: readonly string[];
  readonly attempt?: number;
  readonly spent?: number;
  readonly maxAttempts?: number;
  readonly workerId?: string | null;
  readonly leaseS?: number;
  readonly leaseUntil?: string | null;
  readonly cancelRequested?: boolean;
  readonly cancelBy?: string | null;
  readonly cancelReason?: string | null;
  readonly logLines?: number;
  readonly runAt?: string | null;
  readonly requestedBy?: string;
  readonly queuedAt?: string;
  readonly due?: number;
  readonly repository?: string;
  readonly forWorker?: string | null;
  readonly messageId?: string | null;
  readonly traceId?: string | null;
  readonly note?: string | null;
  readonly sandbox?: string | null;
  readonly result?: JobResult | null;
  readonly error?: JobError | null;
  readonly createdAt?: string;
  readonly updatedAt?: string;
  readonly startedAt?: string | null;
  readonly finishedAt?: string | null;
}

/** The job works on this commit. */
export interface JobBased {
  readonly jobId: string;
  readonly base: string;
  readonly attempt: number;
  readonly sandbox?: string | null;
}

/** A person wants a running job to stop; its worker hears of it with the next heartbeat. */
export interface JobCancelRequested {
  readonly jobId: string;
  readonly by: string;
  readonly reason?: string | null;
}

/** The job was stopped. `stopped` names what was running. */
export interface JobCancelled {
  readonly jobId: string;
  readonly by: string;
  readonly reason?: string | null;
  readonly stopped?: readonly string[] | null;
}

/** A worker holds the job's lease. */
export interface JobClaimed {
  readonly jobId: string;
  readonly workerId: string;
}

/** The job reached its end; its result is with the job. */
export interface JobCompleted {
  readonly jobId: string;
  readonly summary?: string | null;
  readonly artifacts?: readonly Artifact[] | null;
}

/** A job that was just enqueued waits for its time (`run_at`, an instant) or for other jobs. */
export interface JobDeferred {
  readonly jobId: string;
  readonly runAt?: string | null;
  readonly dependsOn?: readonly string[] | null;
}

/** A job exists and waits. */
export interface JobEnqueued {
  readonly jobId: string;
  readonly taskId: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Why an attempt failed. */
export interface JobError {
  readonly message: string;
  readonly errorClass?: "cancelled" | "code" | "conflict" | "environment" | "lost" | "policy" | "quota";
  readonly detail?: string | null;
}

/** The job will not be tried again by itself. */
export interface JobFailed {
  readonly jobId: string;
  readonly message: string;
  readonly detail?: string | null;
}

/** A worker went silent; whatever it still reports for this attempt is refused. */
export interface JobLeaseLost {
  readonly jobId: string;
  readonly workerId: string;
  readonly attempt: number;
}

/** One line of a job's output. `seq` counts from 1 per job and attempt. */
export interface JobLog {
  readonly jobId: string;
  readonly stream: "stderr" | "stdout";
  readonly seq: number;
  readonly line: string;
}

export interface JobReply {
  readonly job: Job;
  readonly ok: boolean;
  readonly position: number | null;
  readonly etaS: number | null;
}

/** The job goes back to the queue; `attempt` is the one that ended, `retry_at` an instant. */
export interface JobRequeued {
  readonly jobId: string;
  readonly attempt: number;
  readonly reason: string;
  readonly errorClass?: string | null;
  readonly retryAt?: string | null;
}

/** What a job brought back. No `head` means that it changed nothing. */
export interface JobResult {
  readonly summary: string;
  readonly base?: string;
  readonly head?: string | null;
  readonly tree?: string | null;
  readonly branch?: string | null;
  readonly bundle?: string | null;
  readonly patch?: string | null;
  readonly diffStat?: string;
  readonly files?: readonly FileChange[];
  readonly evidence?: readonly Evidence[];
  readonly artifacts?: readonly Readonly<Record<string, string>>[];
  readonly output?: Readonly<Record<string, unknown>>;
}

/** One job, as far as events tell. Its full result is with the hub. */
export interface JobView {
  readonly cursor: number;
  readonly seen: number;
  readonly id: string;
  readonly taskId: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly state: JobState;
  readonly since: string;
  readonly attempt: number;
  readonly workerId: string | null;
  readonly base: string | null;
  readonly sandbox: string | null;
  readonly why: string | null;
  readonly errorClass: string | null;
  readonly detail: string | null;
  readonly retryAt: string | null;
  readonly cancelBy: string | null;
  readonly summary: string | null;
  readonly branch: string | null;
  readonly commit: string | null;
  readonly evidence: readonly Evidence[];
  readonly artifacts: readonly Artifact[];
}

export interface Jobs {
  readonly items: readonly Job[];
  readonly next: string | null;
  readonly counts: Readonly<Record<string, number>> | null;
  readonly positions: Readonly<Record<string, number>> | null;
}

/** Jobs of one kind that ended within the last day. Times in seconds; `success` of those that were done. */
export interface KindFigures {
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly success: number | null;
  readonly waitP50S: number | null;
  readonly waitP95S: number | null;
  readonly runP50S: number | null;
  readonly runP95S: number | null;
}

/** One request to land one head. Times are RFC 3339 stamps. */
export interface Landing {
  readonly id: string;
  readonly lane: string;
  readonly sessionId: string;
  readonly state: LandingState;
  readonly head: string;
  readonly base: string;
  readonly branch: string;
  readonly target: string;
  readonly title: string;
  readonly tree?: string;
  readonly body?: string;
  readonly jobId?: string | null;
  readonly taskId?: string | null;
  readonly bundle?: string | null;
  readonly patch?: string | null;
  readonly agent?: string;
  readonly requestedBy?: string;
  readonly askedBy?: string;
  readonly approvedBy?: string | null;
  readonly auditHead?: string | null;
  readonly approvalId?: string | null;
  readonly priority?: "background" | "interactive" | "normal";
  readonly fix?: boolean;
  readonly reverts?: string | null;
  readonly after?: readonly string[];
  readonly supersedes?: string | null;
  readonly number?: number;
  readonly cause?: string | null;
  readonly since?: string;
  readonly published?: boolean;
  readonly attempts?: number;
  readonly mainMoved?: number;
  readonly files?: readonly FileChange[];
  readonly workerEvidence?: readonly Evidence[];
  readonly candidate?: Candidate | null;
  readonly evidence?: readonly Evidence[];
  readonly intent?: Intent | null;
  readonly landedCommit?: string | null;
  readonly conflictPaths?: readonly string[];
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly createdAt?: string;
  readonly updatedAt?: string;
}

/** Landings that ended within the last day, and how long those that landed took from being asked for. */
export interface LandingFigures {
  readonly ended: number;
  readonly landed: number;
  readonly p50S: number | null;
  readonly p95S: number | null;
}

/** A landing changed its state; `cause` says why, in words, `facts` what was established. */
export interface LandingMoved {
  readonly landingId: string;
  readonly state: string;
  readonly previous: string;
  readonly jobId?: string | null;
  readonly head?: string | null;
  readonly cause?: string | null;
  readonly facts?: Readonly<Record<string, unknown>> | null;
}

export interface LandingReply {
  readonly landing: Landing;
  readonly ok: boolean;
  readonly approval: Approval | null;
}

/** A head on its way to the main branch. */
export interface LandingView {
  readonly cursor: number;
  readonly seen: number;
  readonly id: string;
  readonly state: string;
  readonly previous: string;
  readonly since: string;
  readonly jobId: string | null;
  readonly head: string | null;
  readonly cause: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly evidence: readonly Evidence[];
}

export interface Landings {
  readonly items: readonly Landing[];
  readonly next: string | null;
  readonly counts: Readonly<Record<string, number>> | null;
}

/** The queue of one branch. `fence` grows with each new holder. */
export interface Lane {
  readonly id: string;
  readonly repository: string;
  readonly branch: string;
  readonly mode?: LaneMode;
  readonly cause?: string | null;
  readonly since?: string;
  readonly holder?: string | null;
  readonly fence?: number;
  readonly leaseUntil?: string | null;
  readonly head?: string | null;
  readonly submitted?: number;
  readonly drainTo?: number;
  readonly carryApproval?: boolean;
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** The merge queue of a branch was paused, frozen, resumed, or learned a new head of main. */
export interface LaneChanged {
  readonly lane: string;
  readonly mode: string;
  readonly head?: string | null;
  readonly cause?: string | null;
}

/** The merge queue of one branch. */
export interface LaneView {
  readonly seen: number;
  readonly id: string;
  readonly mode: string;
  readonly since: string;
  readonly head: string | null;
  readonly cause: string | null;
}

export interface Lanes {
  readonly items: readonly Lane[];
}

/** What was measured in the last 24 hours. The kind `""` stands for all. */
export interface LastDay {
  readonly kinds: Readonly<Record<string, KindFigures>>;
  readonly landings: LandingFigures;
}

/** A line about the work itself, not a command's output. */
export interface Log {
  readonly level: "debug" | "error" | "info" | "warn";
  readonly message: string;
}

/** Who is logged in. `xsrf` goes back in the header of every write. */
export interface LoggedIn {
  readonly role: string;
  readonly label: string;
  readonly xsrf: string | null;
  readonly sessions: readonly string[] | null;
  readonly xsrfHeader: string;
  readonly ok: boolean;
}

/** A person wrote. */
export interface Message {
  readonly text: string;
  readonly intent?: string | null;
}

/** Something that was said, by a person or by an agent. */
export interface MessageView {
  readonly cursor: number;
  readonly id: string;
  readonly ts: string;
  readonly by: string;
  readonly text: string;
  readonly person: boolean;
  readonly to: string | null;
  readonly intent: string | null;
  readonly turnId: string | null;
}

/** One decision about a connection of a command, with the bytes it came to. */
export interface NetworkUsed {
  readonly jobId: string;
  readonly decision: "closed" | "opened" | "refused";
  readonly host: string;
  readonly port: number;
  readonly code?: string | null;
  readonly address?: string | null;
  readonly bytesUp?: number;
  readonly bytesDown?: number;
}

export interface Ok {
  readonly ok: boolean;
}

/** What a running job prints: the newest lines, and how many there were in this attempt. */
export interface OutputView {
  readonly lines: readonly string[];
  readonly count: number;
  readonly commands: readonly CommandView[];
}

/** Two changes that are under way touch the same lines. `conflict`: they do not merge as they are. */
export interface OverlapFound {
  readonly landingId: string;
  readonly otherId: string;
  readonly paths: readonly string[];
  readonly conflict: boolean;
}

/** What the buddy understood from a message, and what it will do about it. */
export interface PlanMade {
  readonly planId: string;
  readonly messageId: string;
  readonly understanding: string;
  readonly steps: readonly PlanStep[];
  readonly planner?: string;
}

/** One job that the plan wants, before it is enqueued. */
export interface PlanStep {
  readonly kind: string;
  readonly title: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

/** What the buddy understood from one message. */
export interface PlanView {
  readonly cursor: number;
  readonly id: string;
  readonly messageId: string;
  readonly understanding: string;
  readonly steps: readonly PlanStep[];
  readonly planner: string;
}

/** `POST /sessions/:id/message`. `to` names an agent, e.g. `local`. */
export interface PostMessage {
  readonly text: string;
  readonly intent?: string | null;
  readonly to?: string | null;
  readonly clientId?: string | null;
}

export interface Posted {
  readonly eventId: string;
  readonly cursor: number;
  readonly ok: boolean;
}

/** An `error` event. */
export interface Problem {
  readonly cursor: number;
  readonly ts: string;
  readonly message: string;
  readonly detail: string | null;
}

export interface Repositories {
  readonly items: readonly Repository[];
}

/** What the team works on, as its pusher or worker last reported it. */
export interface Repository {
  readonly id: string;
  readonly name: string;
  readonly upstream: string;
  readonly branch: string;
  readonly head?: string | null;
  readonly checks?: readonly CheckSpec[];
  readonly fixers?: readonly string[];
  readonly updatedAt?: string;
}

export interface RetryJob {
  readonly note?: string | null;
}

/** A standing answer was made or taken back. `shape_hash` names the command that it is about. */
export interface RuleChanged {
  readonly ruleId: string;
  readonly change: "created" | "revoked";
  readonly verdict: "allow" | "deny";
  readonly shapeHash: string;
  readonly by: string;
  readonly label?: string | null;
}

/** A worker tried to break out of its own sandbox. `broke` names what worked, and should not. */
export interface SandboxProbed {
  readonly workerId: string;
  readonly executor: string;
  readonly level: "full" | "none" | "partial";
  readonly reason: string;
  readonly held: readonly string[];
  readonly broke: readonly string[];
}

/** What a look at a checkout found. */
export interface ScanResult {
  readonly summary: string;
  readonly filesRead: readonly string[];
  readonly gitStatusPorcelain: string;
  readonly gitDiff: string;
}

/** A conversation and its work. `last` is the newest cursor, `first` the oldest kept one. */
export interface Session {
  readonly id: string;
  readonly createdAt: string;
  readonly label?: string;
  readonly last?: number;
  readonly first?: number;
  readonly capabilities?: readonly string[] | null;
  readonly epoch?: string;
}

export interface SessionCreated {
  readonly sessionId: string;
  readonly protocolVersion: string;
  readonly cursor: number;
}

/** A session after all events up to `cursor`. */
export interface SessionView {
  readonly sessionId: string;
  readonly cursor: number;
  readonly ts: string;
  readonly messages: readonly MessageView[];
  readonly plans: ReadonlyMap<string, PlanView>;
  readonly tasks: ReadonlyMap<string, TaskView>;
  readonly jobs: ReadonlyMap<string, JobView>;
  readonly output: ReadonlyMap<string, OutputView>;
  readonly diffs: readonly DiffView[];
  readonly approvals: ReadonlyMap<string, ApprovalView>;
  readonly landings: ReadonlyMap<string, LandingView>;
  readonly artifacts: ReadonlyMap<string, ArtifactView>;
  readonly agents: ReadonlyMap<string, AgentView>;
  readonly workers: ReadonlyMap<string, AgentView>;
  readonly lanes: ReadonlyMap<string, LaneView>;
  readonly delegations: ReadonlyMap<string, DelegationView>;
  readonly suggestions: readonly Suggestion[];
  readonly problems: readonly Problem[];
}

export interface Sessions {
  readonly items: readonly Session[];
  readonly next: string | null;
  readonly total: number | null;
}

/** `POST /lanes/mode`, by an operator; by the holder, with its fence: that main is `red` or not any more, and that a queue that was being drained is empty (`paused`). */
export interface SetLaneMode {
  readonly lane: string;
  readonly mode: LaneMode;
  readonly cause?: string | null;
  readonly fence?: number | null;
  readonly culprit?: Readonly<Record<string, string>> | null;
  readonly carryApproval?: boolean | null;
}

/** `POST /workers/:id/state`, by an operator. */
export interface SetWorkerState {
  readonly state: "draining" | "idle" | "paused";
  readonly note?: string | null;
}

/** `GET /sessions/:id`: everything a new device needs before its first live event. */
export interface Snapshot {
  readonly session: Session;
  readonly cursor: number;
  readonly jobs: readonly Job[];
  readonly approvals: readonly Approval[];
  readonly landings: readonly Landing[];
  readonly lanes: readonly Lane[];
  readonly workers: readonly Worker[];
  readonly repositories: readonly Repository[];
}

/** A process of the team came, went or failed. `uptime_ms` in milliseconds. */
export interface Status {
  readonly agentId: string;
  readonly state: "busy" | "error" | "idle" | "shutting_down";
  readonly uptimeMs?: number | null;
  readonly detail?: string | null;
}

/** One thing that could be done. Effort is S, M or L. */
export interface Suggestion {
  readonly id: string;
  readonly title: string;
  readonly detail: string;
  readonly effort: "L" | "M" | "S";
}

/** What could be done next. */
export interface Suggestions {
  readonly items: readonly Suggestion[];
}

/** `GET /system/status`. */
export interface SystemStatus {
  readonly version: string;
  readonly protocolVersion: string;
  readonly startedAt: string;
  readonly now: string;
  readonly sessions: number;
  readonly events: number;
  readonly jobs: Readonly<Record<string, number>>;
  readonly landings: Readonly<Record<string, number>>;
  readonly approvalsOpen: number;
  readonly workers: readonly Worker[];
  readonly lanes: readonly Lane[];
  readonly repositories: readonly Repository[];
  readonly streams: number;
  readonly data: Readonly<Record<string, unknown>>;
  readonly lastDay: LastDay | null;
}

/** Everything the task asked for was done, with evidence. */
export interface TaskCompleted {
  readonly taskId: string;
  readonly summary: string;
  readonly artifacts?: readonly Artifact[] | null;
}

/** The buddy turned a message into a task. */
export interface TaskCreated {
  readonly taskId: string;
  readonly title: string;
  readonly description: string;
  readonly createdBy: string;
  readonly priority?: string | null;
  readonly tags?: readonly string[] | null;
}

/** The task ended without its goal; `detail` says why. */
export interface TaskFailed {
  readonly taskId: string;
  readonly message: string;
  readonly detail?: string | null;
}

/** A sentence about how far a task is; `percent` from 0 to 100. */
export interface TaskProgress {
  readonly taskId: string;
  readonly message: string;
  readonly percent?: number | null;
}

/** The first job of a task was enqueued. */
export interface TaskStarted {
  readonly taskId: string;
}

/** What came of one message. */
export interface TaskView {
  readonly cursor: number;
  readonly seen: number;
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly createdBy: string;
  readonly state: TaskState;
  readonly since: string;
  readonly messageId: string | null;
  readonly jobs: readonly string[];
  readonly progress: string | null;
  readonly percent: number | null;
  readonly summary: string | null;
  readonly detail: string | null;
  readonly artifacts: readonly Artifact[];
}

/** A token was created or revoked. Never the token itself. */
export interface TokenChanged {
  readonly tokenId: string;
  readonly role: string;
  readonly change: "created" | "revoked";
  readonly label?: string | null;
}

/** A command is about to run. `args` holds argv, cwd and the sandbox level. */
export interface ToolCall {
  readonly toolCallId: string;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly taskId?: string | null;
  readonly requiresApproval?: boolean | null;
}

/** The command ended. Output is redacted and capped; the whole is an artifact. */
export interface ToolResult {
  readonly toolCallId: string;
  readonly ok: boolean;
  readonly taskId?: string | null;
  readonly stdout?: string | null;
  readonly stderr?: string | null;
  readonly exitCode?: number | null;
  readonly artifacts?: readonly Artifact[] | null;
}

/** A process that claims jobs. */
export interface Worker {
  readonly id: string;
  readonly state: WorkerState;
  readonly registeredAt: string;
  readonly seenAt: string;
  readonly kinds?: readonly string[];
  readonly capabilities?: readonly string[];
  readonly sandbox?: string;
  readonly sandboxReason?: string;
  readonly version?: string;
  readonly host?: string;
  readonly pid?: number;
  readonly jobs?: readonly string[];
  readonly note?: string | null;
}

/** A worker registered, drains, paused or left. */
export interface WorkerChanged {
  readonly workerId: string;
  readonly state: string;
  readonly sandbox?: string | null;
  readonly detail?: string | null;
}

export interface WorkerReply {
  readonly worker: Worker;
  readonly ok: boolean;
}

export interface Workers {
  readonly items: readonly Worker[];
  readonly next: string | null;
  readonly counts: Readonly<Record<string, number>> | null;
}

/** The payload of every event type. */
export interface Payloads {
  message: Message;
  assistant_message: AssistantMessage;
  log: Log;
  error: ErrorPayload;
  done: Done;
  task_created: TaskCreated;
  task_started: TaskStarted;
  task_progress: TaskProgress;
  task_completed: TaskCompleted;
  task_failed: TaskFailed;
  tool_call: ToolCall;
  tool_result: ToolResult;
  job_enqueued: JobEnqueued;
  job_claimed: JobClaimed;
  job_completed: JobCompleted;
  job_failed: JobFailed;
  job_log: JobLog;
  approval_required: ApprovalRequired;
  approved: Approved;
  denied: Denied;
  agent_status: AgentStatus;
  status: Status;
  scan_result: ScanResult;
  suggestions: Suggestions;
  diff_ready: DiffReady;
  committed: Committed;
  delegate_request: DelegateRequest;
  delegate_response: DelegateResponse;
  plan_made: PlanMade;
  job_deferred: JobDeferred;
  job_requeued: JobRequeued;
  job_lease_lost: JobLeaseLost;
  job_cancel_requested: JobCancelRequested;
  job_cancelled: JobCancelled;
  job_based: JobBased;
  check_finished: CheckFinished;
  artifact_stored: ArtifactStored;
  approval_decided: ApprovalDecided;
  approval_expired: ApprovalExpired;
  approval_void: ApprovalVoid;
  approval_consumed: ApprovalConsumed;
  landing_moved: LandingMoved;
  overlap_found: OverlapFound;
  lane_changed: LaneChanged;
  worker_changed: WorkerChanged;
  token_changed: TokenChanged;
  rule_changed: RuleChanged;
  sandbox_probed: SandboxProbed;
  network_used: NetworkUsed;
  data_queried: DataQueried;
}

export type EventType = keyof Payloads;
