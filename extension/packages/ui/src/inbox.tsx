/** "Needs you": what waits for the person, most blocking first, and what was answered, by whom. */
import type { NeedsYou } from "@pushpals/core";
import type { VNode } from "preact";
import { ApprovalCard } from "./approval.js";
import { useAction, useConsole } from "./context.js";
import { Ago, Empty, Tag, Text, WithWords } from "./parts.js";
import { speaker } from "./words.js";

export function Inbox({ picked, onPick }: { picked: string | null; onPick: (id: string | null) => void }): VNode {
  const { s, state, store } = useConsole();
  const items = store.needsYou;
  const answered = [...state.view.approvals.values()].filter((asked) => asked.state !== "open").reverse().slice(0, 30);
  const open = items.find((item) => item.id === picked) ?? (picked === null ? items[0] : undefined);
  const old = open === undefined ? answered.find((asked) => asked.id === picked) : undefined;
  return (
    <div class={`panes ${picked !== null && (open || old) ? "picked" : ""}`}>
      <nav class="index" aria-label={s.places.inbox}>
        {items.length === 0 ? <Empty title={s.inboxEmpty} hint={s.inboxEmptyHint} /> : <InboxList items={items} current={open?.id ?? null} onPick={onPick} />}
        {state.elsewhere.length > 0 && (
          <div class="section">
            <p class="label">{s.elsewhere}</p>
            <ul class="list">
              {state.elsewhere.map((approval) => (
                <li key={approval.id}><div class="item" style={{ cursor: "default" }}>
                  <span class="title"><Text>{approval.summary}</Text></span>
                  <span class="meta"><Text>{approval.sessionId}</Text> · <Ago at={approval.createdAt} /></span>
                </div></li>
              ))}
            </ul>
          </div>
        )}
        {answered.length > 0 && (
          <div class="section">
            <p class="label">{s.answered}</p>
            <ul class="list">
              {answered.map((asked) => (
                <li key={asked.id}>
                  <button type="button" class="item" aria-current={old?.id === asked.id} onClick={() => onPick(asked.id)}>
                    <span class="title"><Text>{asked.summary}</Text></span>
                    <Tag state={asked.state}>{asked.state}</Tag>
                    <span class="meta">
                      {asked.by && <><Text>{s.answeredBy(speaker(asked.by, true).name, asked.device)}</Text> · </>}<Ago at={asked.since} />
                      {asked.reason && <> · <Text>{asked.reason}</Text></>}
                    </span>
                  </button>
                </li>
              ))}
            </ul>
          </div>
        )}
      </nav>
      <div class="detail">
        {picked !== null && <div class="backbar"><button type="button" class="link" onClick={() => onPick(null)}>← {s.places.inbox}</button></div>}
        <div class="scroll" tabIndex={0} role="region" aria-label={s.details}>
          <div class="column">
            {open?.kind === "approval" && <ApprovalCard key={open.id} approval={open.approval} />}
            {open?.kind === "failure" && <Failure key={open.id} item={open} />}
            {open?.kind === "question" && <Question key={open.id} item={open} />}
            {old && (
              <article class="ask">
                <header><span class="label">{s.answered}</span><h2><Text>{old.summary}</Text></h2></header>
                <p><Tag state={old.state}>{old.state}</Tag> {old.by && <Text>{s.answeredBy(speaker(old.by, true).name, old.device)}</Text>}</p>
                {old.reason && <blockquote class="section"><Text>{old.reason}</Text></blockquote>}
              </article>
            )}
          </div>
        </div>
      </div>
    </div>
  );
}

export function InboxList({ items, current, onPick }: { items: readonly NeedsYou[]; current: string | null; onPick: (id: string) => void }): VNode {
  const { s } = useConsole();
  return (
    <ul class="list" data-inbox>
      {items.map((item) => (
        <li key={item.id}>
          <button type="button" class="item" aria-current={item.id === current} onClick={() => onPick(item.id)}>
            <span class="title"><Text>{title(item)}</Text></span>
            <Tag state={item.kind === "failure" ? "failed" : "needs_approval"}>{s.kinds[item.kind]}</Tag>
            <span class="meta">
              <Ago at={item.since} />
              {item.blocks.length > 0 ? <> · {s.blocks(item.blocks)}</> : item.kind === "approval" && item.approval.kind === "land" ? <> · {s.blocksLanding}</> : null}
              {item.kind === "approval" && item.weight >= 110 && <> · {s.blocksWorker}</>}
              {item.kind === "failure" && <> · <Text>{item.why.split("\n")[0]!}</Text></>}
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

const title = (item: NeedsYou): string =>
  item.kind === "approval" ? (item.approval.says ?? item.title) : item.kind === "question" ? item.title.slice(0, 200) : item.title;

function Failure({ item }: { item: Extract<NeedsYou, { kind: "failure" }> }): VNode {
  const { s, store, may, show } = useConsole();
  const action = useAction();
  const { job, landing } = item;
  return (
    <article class="ask">
      <header>
        <span class="label">{s.kinds.failure}</span>
        <h2><Text>{item.title}</Text></h2>
        <div class="who"><span><Ago at={item.since} /></span>{item.blocks.length > 0 && <span>{s.blocks(item.blocks)}</span>}</div>
      </header>
      <p class="plain" style={{ whiteSpace: "pre-wrap" }}><Text>{item.why}</Text></p>
      {job?.error?.detail && <pre class="section action" style={{ whiteSpace: "pre-wrap" }}><Text>{job.error.detail}</Text></pre>}
      {(landing?.conflictPaths?.length ?? 0) > 0 && (
        <div class="section"><p class="label">{s.facts.conflicts}</p><ul>{landing!.conflictPaths!.map((path) => <li key={path}><code><Text>{path}</Text></code></li>)}</ul></div>
      )}
      <div class="row-actions section">
        {may.work && job && <WithWords label={s.retryJob} confirm={s.retryJobConfirm} hint={s.retryNoteHint} optional run={(note) => store.retryJob(job.id, note || null)} />}
        {may.work && landing && <button type="button" disabled={action.busy} onClick={() => void action.run(() => store.retryLanding(landing.id))}>{s.landAgain}</button>}
        {job && <button type="button" onClick={() => show("work", job.id)}>{s.openJob}</button>}
        {landing && <button type="button" onClick={() => show("changes", landing.id)}>{s.openChange}</button>}
        <button type="button" class="quiet" title={s.seenHint} onClick={() => void action.run(() => store.dismiss(item.id))}>{s.seen}</button>
      </div>
      {action.problem && <p class="problem" role="alert">{action.problem}</p>}
    </article>
  );
}

function Question({ item }: { item: Extract<NeedsYou, { kind: "question" }> }): VNode {
  const { s, show } = useConsole();
  return (
    <article class="ask">
      <header><span class="label">{s.kinds.question}</span><div class="who"><span>{speaker(item.message.by, false).name}</span><span><Ago at={item.since} /></span></div></header>
      <p class="plain" style={{ whiteSpace: "pre-wrap" }}><Text>{item.message.text}</Text></p>
      <div class="row-actions section"><button type="button" class="main" onClick={() => show("chat")}>{s.answer}</button></div>
    </article>
  );
}
