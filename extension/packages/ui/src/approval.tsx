/**
 * The approval card: what exactly would happen, what that enables, why it is risky, who asks, until when, and
 * the evidence; then two deliberate steps.
 *
 * What cannot be shown cannot be approved: while the change of a landing is not there, there is no yes.
 */
import { REASONS, byRisk, executable, type Approval, type Scope, type DiffFile, type Evidence, type FileChange, type Landing } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useAction, useClock, useConsole } from "./context.js";
import { DiffView } from "./diff.js";
import { Ago, Facts, Receipts, Tag, Text, short, span } from "./parts.js";
import { usePatch } from "./patch.js";
import type { Strings } from "./strings.js";
import { speaker } from "./words.js";

type Level = "low" | "medium" | "high";

export function ApprovalCard({ approval, headline = true }: { approval: Approval; headline?: boolean }): VNode {
  const { s, state, store, may } = useConsole();
  const landing = state.snapshot?.landings.find(({ id }) => id === approval.landingId);
  const land = approval.kind === "land";
  const patch = usePatch(store, land ? landing?.patch : null);
  const files = patch.state === "there" ? patch.files : null;
  const changes = landing?.files ?? [];
  const evidence = landing?.workerEvidence ?? [];
  const risk = assess(approval, files, changes, [...evidence, ...(landing?.evidence ?? [])], s);
  const guarded = useMemo(() => new Set(changes.filter((change) => change.protected).map(({ path }) => path)), [changes]);
  const sorted = useMemo(() => (files ? byRisk(files, changes) : []), [files, changes]);
  const shown = !land || patch.state === "there";
  const reasons = approval.reasons ?? [];
  const asks = speaker(approval.requestedBy, false);
  const title = landing?.title ?? approval.summary;
  // For a command the action is what to read; for a landing it is the change, and the action says which.
  const action = (
    <div class="section">
          <p class="label">{s.approval.action}</p>
          <div class="action">
            <Facts rows={[...facts(approval.action), [s.approval.hash, <code key="h">{approval.actionHash}</code>]]} />
          </div>
        </div>
  );

  return (
    <article class="ask" aria-label={approval.summary}>
      <header>
        <span class="label">{s.approval.kinds[approval.kind]}</span>
        {headline && <h2><Text>{title}</Text></h2>}
        <div class="who">
          <span>{s.approval.asks(asks.name)}</span>
          <span><Ago at={approval.createdAt} /></span>
          <Expiry at={approval.expiresAt} />
        </div>
        <div class="who">
          <span class={`risk ${risk.level}`}>{s.approval.risk}: <b>{s.approval.risks[risk.level]}</b>, {risk.why}</span>
        </div>
      </header>

      <p class="plain">{enables(approval, landing, s)}</p>

      {!land && action}
      {approval.says && approval.says !== title && (
        <div class="section">
          <p class="label" title={s.approval.saysHint}>{s.approval.says}</p>
          <blockquote><Text>{approval.says}</Text></blockquote>
        </div>
      )}

      {reasons.length > 0 && (
        <div class="section">
          <p class="label">{s.approval.why}</p>
          <ul>{reasons.map((code) => <li key={code}>{REASONS[code] ?? <Text>{code}</Text>} <code class="dim"><Text>{code}</Text></code></li>)}</ul>
        </div>
      )}

      {land && (
        <div class="section framed">
          <header>
            <p class="label">{files ? s.approval.files(files.length) : s.places.changes}</p>
            {files && <span class="plusminus nums"><b>+{sum(files, "added")}</b> <i>−{sum(files, "deleted")}</i></span>}
          </header>
          {patch.state === "loading" && <p class="dim">{s.approval.loading}</p>}
          {patch.state === "missing" && <p class="problem" role="alert">{s.approval.cannotShow(patch.why)}</p>}
          {patch.state === "there" && <DiffView files={sorted} split={false} guarded={guarded} fit />}
        </div>
      )}

      {land && (
        <div class="section">
          <p class="label">{s.approval.evidence}</p>
          <Receipts reported={evidence} verified={landing?.evidence ?? []} />
        </div>
      )}

      {land && action}
      {may.decide ? <Decide approval={approval} shown={shown} /> : <p class="section dim">{s.approval.notYours}</p>}
    </article>
  );
}

function Decide({ approval, shown }: { approval: Approval; shown: boolean }): VNode {
  const { s, state, store, device } = useConsole();
  const [step, setStep] = useState<"choose" | "approve" | "deny">("choose");
  const [ready, setReady] = useState(false);
  const [reason, setReason] = useState("");
  const [done, setDone] = useState<"approve" | "deny" | null>(null);
  const [scope, setScope] = useState<Scope>("once");
  const scopes: readonly Scope[] = approval.kind === "exec" ? ["once", "job"] : approval.kind === "net" ? ["once", "job", "session"] : ["once"];
  const action = useAction();
  const sure = useRef<HTMLButtonElement>(null);
  const words = useRef<HTMLInputElement>(null);
  const first = useRef<HTMLButtonElement>(null);
  const came = useRef(false);

  useEffect(() => {
    if (step === "approve") {
      // A double click, or a key held down, is not two decisions.
      const timer = setTimeout(() => setReady(true), 500);
      return () => clearTimeout(timer);
    }
    setReady(false);
    if (step === "deny") words.current?.focus();
    else if (came.current) first.current?.focus();
    came.current = true;
    return undefined;
  }, [step]);
  useEffect(() => {
    if (ready) sure.current?.focus();
  }, [ready]);

  const now = state.view.approvals.get(approval.id);
  const ended = done ?? (now && now.state !== "open" ? now.state : null);
  if (ended !== null) {
    const by = now?.by ? s.answeredBy(speaker(now.by, true).name, now.device) : null;
    const said = ended === "approve" || ended === "approved" ? s.approval.approved
      : ended === "deny" || ended === "denied" ? s.approval.denied : ended === "expired" ? s.approval.expired : s.approval.void;
    return <p class="section" role="status"><Tag state={ended === "approve" ? "approved" : ended === "deny" ? "denied" : ended}>{said}</Tag> <span class="dim"><Text>{by}</Text></span></p>;
  }
  const decide = async (decision: "approve" | "deny"): Promise<void> => {
    if (await action.run(() => store.decide(approval, decision, decision === "deny" ? reason.trim() : null, device, decision === "deny" ? "once" : scope))) setDone(decision);
  };
  return (
    <div class="decide">
      {step === "choose" && (
        <div class="row-actions">
          <button ref={first} type="button" class="main" disabled={!shown} onClick={() => setStep("approve")}>{s.approval.approve}</button>
          <button type="button" class="no" onClick={() => setStep("deny")}>{s.approval.deny}</button>
        </div>
      )}
      {step === "approve" && (
        <>
          <p class="dim small">{s.approval.confirmHint}</p>
          {scopes.length > 1 && (
            <label><span class="label">{s.approval.scope}</span>
              <select value={scope} onChange={(event) => setScope(event.currentTarget.value as Scope)}>
                {scopes.map((one) => <option key={one} value={one}>{s.approval.scopes[one]}</option>)}
              </select>
            </label>
          )}
          <div class="row-actions">
            <button ref={sure} type="button" class="main" disabled={!ready || action.busy || !shown} onClick={() => void decide("approve")}>
              {s.approval.confirmApprove(approval.summary)}
            </button>
            <button type="button" class="quiet" onClick={() => setStep("choose")}>{s.back}</button>
          </div>
        </>
      )}
      {step === "deny" && (
        <form onSubmit={(event) => {
          event.preventDefault();
          void decide("deny");
        }}>
          <label>
            <span class="label">{s.approval.reason}</span>
            <input ref={words} value={reason} maxLength={2000} placeholder={s.approval.reasonHint} onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
          <div class="row-actions" style={{ marginTop: ".6rem" }}>
            <button class="no solid" disabled={action.busy}>{s.approval.confirmDeny}</button>
            <button type="button" class="quiet" onClick={() => setStep("choose")}>{s.back}</button>
          </div>
        </form>
      )}
      {action.busy && <p class="dim" role="status">{s.approval.deciding}</p>}
      {action.problem && <p class="problem" role="alert"><Text>{action.problem}</Text></p>}
    </div>
  );
}

function Expiry({ at }: { at: string }): VNode {
  const { s } = useConsole();
  const near = Date.parse(at) - Date.now() < 600_000;
  const left = Date.parse(at) - useClock(near ? 1_000 : 20_000);
  return <span class={left < 300_000 ? "problem nums" : "nums"} title={`${new Date(at).toLocaleString()}. ${s.approval.expiresHint}`}>
    {left <= 0 ? s.approval.expired : s.approval.expires(span(left, s))}</span>;
}

const sum = (files: readonly DiffFile[], what: "added" | "deleted"): number => files.reduce((n, file) => n + file[what], 0);

function enables(approval: Approval, landing: Landing | undefined, s: Strings): string {
  const action = approval.action;
  switch (approval.kind) {
    case "land": {
      const target = String(action["target"] ?? "").replace("refs/heads/", "");
      return s.approval.enablesLand(short(String(action["head"] ?? landing?.head ?? "")), target, String(action["repository"] ?? ""));
    }
    case "exec": return s.approval.enablesExec;
    case "net": return s.approval.enablesNet;
    case "limits": return s.approval.enablesLimits;
    case "unsandboxed": return s.approval.enablesUnsandboxed;
    case "other": return s.approval.enablesOther;
  }
}

const GRAVE = ["level.none", "display", "protected", "exec.opaque"];

/** How careful to be, and the one reason that weighs most. Nothing here hides anything; it only says where to look. */
export function assess(
  approval: Approval, files: readonly DiffFile[] | null, changes: readonly FileChange[], evidence: readonly Evidence[], s: Strings,
): { level: Level; why: string } {
  const { because } = s.approval;
  const high = (why: string): { level: Level; why: string } => ({ level: "high", why });
  const medium = (why: string): { level: Level; why: string } => ({ level: "medium", why });
  const grave = GRAVE.find((code) => approval.reasons?.includes(code));
  if (grave && approval.kind !== "land") return high(REASONS[grave] ?? grave);
  switch (approval.kind) {
    case "unsandboxed": return high(because.outside);
    case "net": return medium(because.network);
    case "exec": return medium(because.command);
    case "limits": return medium(because.limit);
    case "other": return medium(because.other);
    case "land": break;
  }
  const guarded = changes.filter((change) => change.protected).length;
  if (guarded > 0) return high(because.protected(guarded));
  const failing = evidence.filter(({ verdict }) => verdict !== "passed").length;
  if (failing > 0) return high(because.failing(failing));
  if (files?.some(executable)) return high(because.executable);
  if (evidence.length === 0) return medium(because.noChecks);
  if (changes.some((change) => change.binary) || files?.some((file) => file.binary)) return medium(because.binary);
  const deleted = changes.filter((change) => change.status === "D").length;
  if (deleted > 0) return medium(because.deletes(deleted));
  const lines = changes.reduce((n, change) => n + (change.added ?? 0) + (change.deleted ?? 0), 0);
  if (lines > 400) return medium(because.large(lines));
  return { level: "low", why: because.small };
}

/** The action as the hub wrote it, key by key; lists of words one a line and quoted, so that blanks show. */
function facts(action: Readonly<Record<string, unknown>>): [string, VNode][] {
  return Object.entries(action).map(([name, value]) => {
    const text = Array.isArray(value) && value.every((word) => typeof word === "string")
      ? value.map((word) => JSON.stringify(word)).join("\n")
      : typeof value === "string" ? value : JSON.stringify(value, null, 1);
    return [name, <code key={name}><Text>{text}</Text></code>];
  });
}
