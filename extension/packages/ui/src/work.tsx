/** Jobs: why each is in its state and since when, what it prints, what it brought; cancel, run again. */
import type { Job, JobReply } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { costOf } from "./chat.js";
import { useConsole } from "./context.js";
import { LogTail } from "./log.js";
import { Ago, Empty, Facts, Receipts, Tag, Text, WithWords, short, span } from "./parts.js";
import type { Strings } from "./strings.js";

export function Work({ picked, onPick }: { picked: string | null; onPick: (id: string | null) => void }): VNode {
  const { s, state } = useConsole();
  const jobs = state.snapshot?.jobs ?? [];
  const groups = useMemo(() => {
    const running = jobs.filter((job) => job.status === "claimed");
    const ended = jobs.filter((job) => ["completed", "failed", "cancelled"].includes(job.status));
    const waiting = jobs.filter((job) => !running.includes(job) && !ended.includes(job));
    return [["running", running], ["waiting", waiting], ["ended", ended]] as const;
  }, [jobs]);
  const open = jobs.find((job) => job.id === picked);
  return (
    <div class={`panes ${open ? "picked" : ""}`}>
      <nav class="index" aria-label={s.places.work}>
        {jobs.length === 0 && <Empty title={s.workEmpty} hint={s.workEmptyHint} />}
        {groups.map(([name, group]) => group.length > 0 && (
          <div key={name} class={name === groups.find(([, list]) => list.length > 0)?.[0] ? "" : "section"}>
            <p class="label">{s.groups[name]}</p>
            <ul class="list">
              {group.slice(0, 200).map((job) => (
                <li key={job.id}>
                  <button type="button" class="item" aria-current={job.id === picked} onClick={() => onPick(job.id)}>
                    <span class="title"><Text>{job.title || job.kind}</Text></span>
                    <Tag state={job.status}>{s.jobStates[job.status]}</Tag>
                    <span class="meta"><Text>{job.kind}</Text> · <Ago at={since(job)} />{why(job, jobs, s, true) && <> · <Text>{why(job, jobs, s, true)}</Text></>}</span>
                  </button>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </nav>
      <div class="detail">
        {open && <div class="backbar"><button type="button" class="link" onClick={() => onPick(null)}>← {s.places.work}</button></div>}
        <div class="scroll" tabIndex={0} role="region" aria-label={s.details}>
          <div class="column">{open ? <JobDetail key={open.id} job={open} jobs={jobs} /> : <p class="dim wideonly">{jobs.length > 0 && s.pickJob}</p>}</div>
        </div>
      </div>
    </div>
  );
}

function JobDetail({ job, jobs }: { job: Job; jobs: readonly Job[] }): VNode {
  const { s, state, store, may, show } = useConsole();
  const [position, setPosition] = useState<number | null>(null);
  const [starts, setStarts] = useState<number | null>(null);
  useEffect(() => {
    if (job.status !== "pending") {
      setStarts(null);
      return setPosition(null);
    }
    let gone = false;
    void store.transport.request<JobReply>("GET", `jobs/${encodeURIComponent(job.id)}`).then(
      (answer) => {
        if (gone) return;
        setPosition(answer.position);
        setStarts(answer.etaS);
      }, () => {},
    );
    return () => {
      gone = true;
    };
  }, [job.id, job.status, state.snapshot]);
  const landing = state.snapshot?.landings.find((one) => one.jobId === job.id);
  const budget = { runS: 1_800, changedFiles: 2_000, ...job.budget };
  const ended = ["completed", "failed", "cancelled"].includes(job.status);
  const nobody = job.status === "pending" && (state.snapshot?.workers.length ?? 0) === 0;
  const reason = nobody ? s.why.pendingNobody : position === null ? why(job, jobs, s, false) : position === 0 ? s.why.pendingFirst : s.why.pending(position);
  const evidence = job.result?.evidence ?? [];
  const artifacts = [
    ...[["diff", job.result?.patch], ["bundle", job.result?.bundle]].filter((pair): pair is [string, string] => Boolean(pair[1])),
    ...[...state.view.artifacts.values()].filter((one) => one.jobId === job.id).map((one): [string, string] => [one.kind, one.sha256]),
  ].filter(([, sha], index, all) => all.findIndex(([, other]) => other === sha) === index);
  return (
    <article>
      <header class="ask" style={{ paddingBottom: 0 }}>
        <p class="label"><Text>{job.kind}</Text></p>
        <h2><Text>{job.title || job.kind}</Text></h2>
        <p style={{ marginTop: ".3rem" }}><Tag state={job.status}>{s.jobStates[job.status]}</Tag>
          <span class="dim"> <Ago at={since(job)} />{reason && <>: <Text>{reason}</Text></>}{starts !== null && <>, {s.startsIn(span(starts * 1000, s))}</>}</span></p>
      </header>
      {job.error?.detail && <pre class="section log" style={{ padding: ".6rem .8rem", whiteSpace: "pre-wrap" }}><Text>{job.error.detail}</Text></pre>}
      {job.result?.summary && <p class="section" style={{ whiteSpace: "pre-wrap" }}><Text>{job.result.summary}</Text></p>}
      <div class="row-actions section">
        {landing && <button type="button" onClick={() => show("changes", landing.id)}>{s.openChange}</button>}
        {!landing && job.result?.patch && <button type="button" onClick={() => show("changes", job.id)}>{s.openChange}</button>}
        {may.work && !ended && !job.cancelRequested && (
          <WithWords label={s.cancelJob} confirm={s.cancelJobConfirm} hint={s.approval.reason} tone="no" optional run={(words) => store.cancelJob(job.id, words || null)} />
        )}
        {may.work && (job.status === "failed" || job.status === "cancelled") && (
          <WithWords label={s.retryJob} confirm={s.retryJobConfirm} hint={s.retryNoteHint} optional run={(words) => store.retryJob(job.id, words || null)} />
        )}
      </div>
      <div class="section">
        <Facts rows={[
          [s.facts.worker, job.workerId && <Text>{job.workerId}</Text>],
          [s.facts.sandbox, job.sandbox && <Text>{job.sandbox}</Text>],
          [s.facts.started, job.startedAt && <><Ago at={job.startedAt} />, {s.attempt(Math.max(1, job.attempt ?? 0), job.maxAttempts ?? 3)}</>],
          [s.facts.ended, job.finishedAt && <Ago at={job.finishedAt} />],
          [s.facts.budget, s.budget(budget.runS, budget.changedFiles)],
          [s.facts.cost, costOf(job)],
          [s.facts.base, job.base && <code>{short(job.base)}</code>],
          [s.facts.branch, job.result?.branch && <code><Text>{job.result.branch}</Text></code>],
          [s.facts.commit, job.result?.head && <code>{short(job.result.head)}</code>],
          [s.facts.paths, job.paths?.length ? <Text>{job.paths.join(", ")}</Text> : null],
          [s.facts.checks, job.checks?.length ? <Text>{job.checks.join(", ")}</Text> : null],
          [s.facts.needs, job.needs?.length ? <Text>{job.needs.join(", ")}</Text> : null],
          [s.facts.dependsOn, job.dependsOn?.length ? <Text>{names(job.dependsOn, jobs)}</Text> : null],
          [s.facts.note, job.note && <Text>{job.note}</Text>],
          [s.facts.asked, job.requestedBy && <Text>{job.requestedBy}</Text>],
          [s.facts.parameters, Object.keys(job.params).length > 0 && <code><Text>{parameters(job.params)}</Text></code>],
          [s.facts.id, <code key="id">{job.id}</code>],
        ]} />
      </div>
      <div class="section"><p class="label">{s.log}</p><LogTail job={job} /></div>
      {(evidence.length > 0 || ended) && <div class="section"><p class="label">{s.receipts}</p><Receipts reported={evidence} verified={landing?.evidence ?? []} /></div>}
      {artifacts.length > 0 && (
        <div class="section"><p class="label">{s.artifacts}</p>
          <ul class="list">{artifacts.map(([kind, sha]) => (
            <li key={sha}><div class="item" style={{ cursor: "default" }}><span><Text>{kind}</Text> <code class="dim">{short(sha)}</code></span>
              <Download sha={sha} name={kind} /></div></li>
          ))}</ul>
        </div>
      )}
    </article>
  );
}

/** Bytes are fetched by the transport and saved by the browser: never opened here. */
function Download({ sha, name }: { sha: string; name: string }): VNode {
  const { s, store } = useConsole();
  const save = async (): Promise<void> => {
    const bytes = await store.transport.bytes(`artifacts/${sha}`);
    const url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `${name.replace(/[^\w.-]/g, "-")}-${sha.slice(0, 12)}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return <button type="button" class="link" aria-label={`${s.download} ${name} ${short(sha)}`} onClick={() => void save()}>{s.download}</button>;
}

/** One name a line; what is a text is shown as it is. */
const parameters = (params: Readonly<Record<string, unknown>>): string =>
  Object.entries(params).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n").slice(0, 4_000);

const since = (job: Job): string | null => job.finishedAt ?? (job.status === "claimed" ? (job.startedAt ?? job.updatedAt) : job.updatedAt) ?? job.createdAt ?? null;

const names = (ids: readonly string[], jobs: readonly Job[]): string =>
  ids.map((id) => jobs.find((job) => job.id === id)).map((job, index) => (job ? job.title || job.kind : ids[index]!)).join(", ");

function why(job: Job, jobs: readonly Job[], s: Strings, brief: boolean): string {
  if (job.cancelRequested && job.status === "claimed") return s.why.stopping(job.cancelBy ?? "");
  switch (job.status) {
    case "blocked": return s.why.blocked(names((job.dependsOn ?? []).filter((id) => jobs.find((one) => one.id === id)?.status !== "completed"), jobs));
    case "scheduled": return s.why.scheduled(job.runAt ? new Date(job.runAt).toLocaleTimeString() : "");
    case "claimed": return brief ? (job.workerId ?? "") : s.why.claimed(job.workerId ?? "");
    case "failed": return job.error?.message ?? "";
    case "cancelled": return [job.cancelBy, job.cancelReason].filter(Boolean).join(": ");
    case "pending": return job.error?.message ?? "";
    case "completed": return "";
  }
}
