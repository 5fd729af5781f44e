/** Changes: pick one, read it, comment, reject parts, and send all of it as one instruction or a follow-up job. */
import { byRisk, hunkKey, keep, type Comment, type DiffFile, type Evidence, type FileChange, type Job, type Landing } from "@pushpals/core";
import type { VNode } from "preact";
import { useCallback, useMemo, useState } from "preact/hooks";
import { useAction, useConsole } from "./context.js";
import { DiffView, type Review } from "./diff.js";
import { Ago, Empty, Receipts, Tag, Text, short } from "./parts.js";
import { usePatch } from "./patch.js";

interface Change {
  id: string;
  /** Comments stay with the work, also when it comes back as a new commit. */
  thread: string;
  title: string;
  state: string;
  at: string | undefined;
  commit: string;
  patch: string | null | undefined;
  files: readonly FileChange[];
  reported: readonly Evidence[];
  verified: readonly Evidence[];
  landing: Landing | null;
  job: Job | null;
}

export function Changes({ picked, onPick }: { picked: string | null; onPick: (id: string | null) => void }): VNode {
  const { s, state } = useConsole();
  const changes = useMemo(() => list(state.snapshot?.jobs ?? [], state.snapshot?.landings ?? []), [state.snapshot]);
  const open = changes.find((change) => change.id === picked) ?? (picked === null ? changes[0] : undefined);
  return (
    <div class={`panes ${picked !== null && open ? "picked" : ""}`}>
      <nav class="index" aria-label={s.places.changes}>
        {changes.length === 0 && <Empty title={s.changesEmpty} hint={s.changesEmptyHint} />}
        <ul class="list">
          {changes.map((change) => (
            <li key={change.id}>
              <button type="button" class="item" aria-current={change.id === open?.id} onClick={() => onPick(change.id)}>
                <span class="title"><Text>{change.title}</Text></span>
                <Tag state={change.state}>{s.landingStates[change.state] ?? change.state}</Tag>
                <span class="meta nums"><code>{short(change.commit)}</code> · {s.approval.files(change.files.length)} · <Ago at={change.at} /></span>
              </button>
            </li>
          ))}
        </ul>
      </nav>
      <div class="detail">
        {open && <div class="backbar"><button type="button" class="link" onClick={() => onPick(null)}>← {s.places.changes}</button></div>}
        {open && <ReviewOf key={open.id} change={open} />}
      </div>
    </div>
  );
}

function list(jobs: readonly Job[], landings: readonly Landing[]): Change[] {
  const found: Change[] = landings.map((landing) => {
    const job = jobs.find(({ id }) => id === landing.jobId) ?? null;
    return {
      id: landing.id, thread: landing.branch, title: landing.title, state: landing.state, at: landing.createdAt, commit: landing.head,
      patch: landing.patch, files: landing.files ?? [], reported: landing.workerEvidence ?? [], verified: landing.evidence ?? [], landing, job,
    };
  });
  const landed = new Set(landings.map(({ jobId }) => jobId));
  for (const job of jobs) {
    if (!job.result?.patch || landed.has(job.id)) continue;
    found.push({
      id: job.id, thread: job.result.branch ?? job.id, title: job.title || job.kind, state: job.status, at: job.finishedAt ?? job.createdAt,
      commit: job.result.head ?? "", patch: job.result.patch, files: job.result.files ?? [], reported: job.result.evidence ?? [], verified: [],
      landing: null, job,
    });
  }
  return found.sort((a, b) => (b.at ?? "").localeCompare(a.at ?? ""));
}

interface Notes {
  comments: Comment[];
  rejected: string[];
}

/** Comments and rejections of one thread, kept on this device until they are sent. */
function useNotes(thread: string): [Notes, (change: (old: Notes) => Notes) => void] {
  const { shelf, state } = useConsole();
  const key = `pushpals-review-${state.session}-${thread}`;
  const [notes, setNotes] = useState<Notes>(() => {
    try {
      return { comments: [], rejected: [], ...(JSON.parse(shelf?.getItem(key) ?? "{}") as Partial<Notes>) };
    } catch {
      return { comments: [], rejected: [] };
    }
  });
  const change = useCallback((make: (old: Notes) => Notes) => setNotes((old) => {
    const made = make(old);
    try {
      if (made.comments.length + made.rejected.length > 0) shelf?.setItem(key, JSON.stringify(made));
      else shelf?.removeItem(key);
    } catch {
      // Without storage they live as long as the page.
    }
    return made;
  }), [key, shelf]);
  return [notes, change];
}

function ReviewOf({ change }: { change: Change }): VNode {
  const { s, store, may, shelf } = useConsole();
  const patch = usePatch(store, change.patch);
  const [notes, setNotes] = useNotes(change.thread);
  const [split, setSplit] = useState(() => shelf?.getItem("pushpals-split") === "1");
  const [goTo, setGoTo] = useState<{ path: string; serial: number } | null>(null);
  const [at, setAt] = useState("");
  const [receipts, setReceipts] = useState(false);
  const files = useMemo(() => (patch.state === "there" ? byRisk(patch.files, change.files) : []), [patch, change.files]);
  const guarded = useMemo(() => new Set(change.files.filter((file) => file.protected).map(({ path }) => path)), [change.files]);
  const rejected = useMemo(() => new Set(notes.rejected), [notes.rejected]);
  const review: Review = useMemo(() => ({
    comments: notes.comments, rejected,
    add: (path, side, line, snippet, text) => setNotes((old) => ({
      ...old, comments: [...old.comments, { id: `${Date.now()}-${old.comments.length}`, path, side, line, snippet, text, commit: change.commit }],
    })),
    remove: (id) => setNotes((old) => ({ ...old, comments: old.comments.filter((comment) => comment.id !== id) })),
    reject: change.state === "landed" ? undefined : (key, on) => setNotes((old) => ({ ...old, rejected: on ? [...new Set([...old.rejected, key])] : old.rejected.filter((one) => one !== key) })),
  }), [notes, rejected, change.commit]);
  const choose = (on: boolean): void => {
    setSplit(on);
    shelf?.setItem("pushpals-split", on ? "1" : "0");
  };
  const wrong = [...change.reported, ...change.verified].filter(({ verdict }) => verdict !== "passed").length;
  return (
    <div class="review">
      <div class="top">
        <h2 style={{ fontSize: "1.1em" }}><Text>{change.title}</Text></h2>
        <p class="small dim nums"><Tag state={change.state}>{s.landingStates[change.state] ?? change.state}</Tag> · {s.bound(short(change.commit))}
          {change.landing && <> · <Text>{`${change.landing.branch} → ${change.landing.target}`}</Text></>}
          {change.landing?.cause && <> · <Text>{change.landing.cause}</Text></>}</p>
        <div class="tools">
          <label class="filepick"><span class="unseen">{s.files}</span>
            <select value={at || files[0]?.path || ""} onChange={(event) => setGoTo({ path: event.currentTarget.value, serial: Date.now() })}>
              {files.map((file) => <option key={file.path} value={file.path}>{`${guarded.has(file.path) ? "! " : ""}${file.path}  +${file.added} −${file.deleted}`}</option>)}
            </select>
          </label>
          <span class="room" />
          <button type="button" aria-expanded={receipts} style={{ minHeight: "1.9rem" }} onClick={() => setReceipts(!receipts)}>
            {s.receipts} {change.reported.length + change.verified.length > 0 && <Tag state={wrong > 0 ? "failed" : "passed"}>{change.reported.length + change.verified.length}</Tag>}
          </button>
          <span class="segments wideonly" role="group" aria-label={s.places.changes}>
            <button type="button" aria-pressed={!split} onClick={() => choose(false)}>{s.unified}</button>
            <button type="button" aria-pressed={split} onClick={() => choose(true)}>{s.split}</button>
          </span>
        </div>
        {receipts && <Receipts reported={change.reported} verified={change.verified} />}
      </div>
      {patch.state === "loading" && <p class="column dim">{s.approval.loading}</p>}
      {patch.state === "missing" && <p class="column problem" role="alert">{s.failed(patch.why)}</p>}
      {patch.state === "there" && <DiffView files={files} split={split} guarded={guarded} review={may.say ? review : undefined} goTo={goTo} onFile={setAt} />}
      {may.say && notes.comments.length + notes.rejected.length > 0 && patch.state === "there" && (
        <SendBar change={change} files={files} notes={notes} onSent={() => setNotes(() => ({ comments: [], rejected: [] }))} />
      )}
    </div>
  );
}

function SendBar({ change, files, notes, onSent }: { change: Change; files: readonly DiffFile[]; notes: Notes; onSent: () => void }): VNode {
  const { s, state, store, may, device } = useConsole();
  const action = useAction();
  const rejected = new Set(notes.rejected);
  const approval = state.snapshot?.approvals.find(({ id, state: now }) => id === change.landing?.approvalId && now === "open");
  const deny = async (): Promise<void> => {
    if (approval && may.decide) await store.decide(approval, "deny", s.review.denied, device);
  };
  const ask = (): Promise<boolean> => action.run(async () => {
    await deny();
    store.say(instruction());
    onSent();
  });
  const instruction = (): string => {
    const parts = notes.comments.map((one) => s.review.comment(one.path, one.line, one.snippet.trim().slice(0, 160), one.text));
    for (const file of files) {
      if (rejected.has(file.path)) parts.push(s.review.rejectFile(file.path));
      for (const hunk of file.hunks) if (rejected.has(hunkKey(file, hunk))) parts.push(s.review.rejectHunk(file.path, hunk.header));
    }
    return [s.review.intro(change.title, short(change.commit)), "", ...parts].join("\n");
  };
  const left = notes.rejected.length > 0 && change.job ? keep(files, rejected) : "";
  const rest = (): Promise<boolean> => action.run(async () => {
    const title = s.review.kept(change.title).slice(0, 200);
    await store.transport.request("POST", "jobs/enqueue", {
      taskId: change.job!.taskId, kind: "patch", sessionId: state.session, title, params: { diff: left, title },
      ...(change.job!.messageId ? { messageId: change.job!.messageId } : {}),
    });
    await deny();
    onSent();
  });
  return (
    <div class="sendbar" role="region" aria-label={s.sendReview}>
      <span class="nums">{s.pending(notes.comments.length, notes.rejected.length)}</span>
      <button type="button" class="main" title={s.sendReviewHint} disabled={action.busy} onClick={() => void ask()}>{s.sendReview}</button>
      {may.work && left !== "" && notes.comments.length === 0 && (
        <button type="button" title={s.keepAcceptedHint} disabled={action.busy} onClick={() => void rest()}>{s.keepAccepted}</button>
      )}
      {action.problem && <span class="problem" role="alert">{action.problem}</span>}
    </div>
  );
}
