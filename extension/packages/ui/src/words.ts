/** An event in one line, for the chat and the timeline. */
import type { Envelope, Payloads } from "@pushpals/core";
import type { Strings } from "./strings.js";

export interface Line {
  readonly text: string;
  readonly tone: "" | "good" | "bad" | "warn";
}

/** Events that the chat leaves out: they are details of jobs, or said by another event. */
export const QUIET: ReadonlySet<string> = new Set([
  "message", "assistant_message", "job_log", "tool_call", "tool_result", "task_progress", "task_started", "agent_status",
  "status", "artifact_stored", "log", "diff_ready", "done", "worker_changed", "job_based", "approved", "denied",
  "scan_result", "suggestions", "delegate_request", "delegate_response", "lane_changed", "token_changed", "job_enqueued", "job_deferred", "approval_consumed", "rule_changed", "sandbox_probed", "network_used", "data_queried",
]);

export function line(event: Envelope, s: Strings): Line {
  const words = s.events;
  const said = (text: string, tone: Line["tone"] = ""): Line => ({ text, tone });
  const p = event.payload as never;
  switch (event.type) {
    case "message":
    case "assistant_message":
      return said((p as Payloads["message"]).text);
    case "plan_made":
      return said(words.plan((p as Payloads["plan_made"]).understanding));
    case "task_created":
      return said(words.task((p as Payloads["task_created"]).title));
    case "task_completed":
      return said(words.taskDone((p as Payloads["task_completed"]).summary), "good");
    case "task_failed":
      return said(words.taskFailed((p as Payloads["task_failed"]).message), "bad");
    case "task_progress":
      return said((p as Payloads["task_progress"]).message);
    case "job_enqueued":
      return said(words.jobQueued((p as Payloads["job_enqueued"]).kind));
    case "job_deferred":
      return said(words.jobDeferred);
    case "approval_consumed":
      return said(words.approvalUsed);
    case "sandbox_probed": {
      const probed = p as Payloads["sandbox_probed"];
      return said(words.probed(probed.workerId, probed.level), probed.broke.length > 0 ? "bad" : "");
    }
    case "network_used": {
      const used = p as Payloads["network_used"];
      return said(words.network(used.decision, `${used.host}:${used.port}`), used.decision === "refused" ? "warn" : "");
    }
    case "job_claimed":
      return said(words.jobClaimed((p as Payloads["job_claimed"]).workerId));
    case "job_completed":
      return said(words.jobDone((p as Payloads["job_completed"]).summary ?? ""));
    case "job_failed":
      return said(words.jobFailed((p as Payloads["job_failed"]).message), "bad");
    case "job_requeued":
      return said(words.jobBack((p as Payloads["job_requeued"]).reason), "warn");
    case "job_lease_lost":
      return said(words.jobLost((p as Payloads["job_lease_lost"]).workerId), "warn");
    case "job_cancelled":
      return said(words.jobCancelled(speaker((p as Payloads["job_cancelled"]).by, true).name));
    case "job_cancel_requested":
      return said(words.jobCancelAsked(speaker((p as Payloads["job_cancel_requested"]).by, true).name));
    case "approval_required":
      return said(words.approvalAsked((p as Payloads["approval_required"]).summary), "warn");
    case "approval_decided": {
      const decided = p as Payloads["approval_decided"];
      const by = speaker(decided.by, true).name;
      return decided.decision === "approve"
        ? said(words.approvalYes(by), "good")
        : said(words.approvalNo(by, decided.reason ?? ""), "bad");
    }
    case "approval_expired":
      return said(words.approvalExpired, "bad");
    case "approval_void":
      return said(words.approvalVoid((p as Payloads["approval_void"]).reason));
    case "check_finished": {
      const { evidence } = p as Payloads["check_finished"];
      return said(words.check(evidence.check, s.verdicts[evidence.verdict]), evidence.verdict === "passed" ? "good" : "bad");
    }
    case "landing_moved": {
      const moved = p as Payloads["landing_moved"];
      const bad = ["rejected", "conflict", "failed", "stale"].includes(moved.state);
      return said(
        words.landing(s.landingStates[moved.state] ?? moved.state, moved.cause ?? ""),
        moved.state === "landed" ? "good" : bad ? "bad" : "",
      );
    }
    case "committed": {
      const made = p as Payloads["committed"];
      return said(words.commit(made.commitHash.slice(0, 12), made.branch, made.message.split("\n")[0] ?? ""));
    }
    case "error":
      return said(words.error((p as Payloads["error"]).message), "bad");
    case "log":
      return said((p as Payloads["log"]).message);
    case "job_log":
      return said((p as Payloads["job_log"]).line);
    case "tool_call": {
      const call = p as Payloads["tool_call"];
      const argv = call.args["argv"];
      return said(Array.isArray(argv) ? argv.join(" ") : call.tool);
    }
    case "tool_result": {
      const ran = p as Payloads["tool_result"];
      const code = ran.exitCode ?? null;
      return said(code !== null ? words.ran(String(code)) : ran.ok ? words.ranWell : words.ranBadly, ran.ok ? "" : "bad");
    }
    case "artifact_stored": {
      const kept = p as Payloads["artifact_stored"];
      return said(words.artifact(kept.kind, bytes(kept.size)));
    }
    case "diff_ready":
      return said(words.diff((p as Payloads["diff_ready"]).diffStat.trim().split("\n").at(-1)?.trim() ?? ""));
    case "job_based": {
      const based = p as Payloads["job_based"];
      return said(words.based(based.base.slice(0, 12), based.sandbox ?? ""));
    }
    case "agent_status": {
      const now = p as Payloads["agent_status"];
      return said(words.status(now.agentId, now.status, now.message ?? ""));
    }
    case "status": {
      const now = p as Payloads["status"];
      return said(words.status(now.agentId, now.state, now.detail ?? ""));
    }
    case "approved":
      return said(words.yes, "good");
    case "denied":
      return said(words.no, "bad");
    default:
      return said(words.other(event.type));
  }
}

/** "ada" out of "client:ada", and what kind of speaker that is. */
export function speaker(from: string | null | undefined, person: boolean): { name: string; role: "person" | "agent" | "worker" | "hub" } {
  const [kind, ...rest] = (from ?? "").split(":");
  const name = rest.join(":") || kind || (person ? "you" : "agent");
  if (kind === "hub") return { name: "hub", role: "hub" };
  return { name, role: person || kind === "client" ? "person" : kind === "worker" ? "worker" : "agent" };
}

export function bytes(size: number): string {
  if (size < 1_024) return `${size} B`;
  return size < 1_048_576 ? `${(size / 1_024).toFixed(1)} KiB` : `${(size / 1_048_576).toFixed(1)} MiB`;
}
