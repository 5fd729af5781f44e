/** The conversation: who said what, what came of it in one line each, and what waits to be sent. */
import type { CursoredEvent, Job, Outgoing } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useAction, useConsole } from "./context.js";
import { Markdown } from "./markdown.js";
import { Empty, Text, clock } from "./parts.js";
import { QUIET, line, speaker } from "./words.js";

const SHOWN = 200;

export function Chat(): VNode {
  const { s, state, store, shelf } = useConsole();
  const [most, setMost] = useState(SHOWN);
  const [markdown, setMarkdown] = useState(() => shelf?.getItem("pushpals-markdown") === "1");
  const items = useMemo(() => telling(state.events), [state.events]);
  const shown = items.slice(-most);
  const box = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const [below, setBelow] = useState(false);
  const newest = shown.at(-1)?.cursor ?? 0;

  useLayoutEffect(() => {
    const node = box.current!;
    if (stuck.current) node.scrollTop = node.scrollHeight;
    else setBelow(true);
  }, [newest, state.outbox.length]);
  useEffect(() => {
    const node = box.current!;
    const watch = new ResizeObserver(() => {
      if (stuck.current) node.scrollTop = node.scrollHeight;
    });
    watch.observe(node);
    return () => watch.disconnect();
  }, []);
  const onScroll = (): void => {
    const node = box.current!;
    stuck.current = node.scrollTop + node.clientHeight > node.scrollHeight - 60;
    if (stuck.current) setBelow(false);
  };
  const costs = useMemo(() => costsByMessage(state.snapshot?.jobs ?? []), [state.snapshot]);

  return (
    <>
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex={0} role="region" aria-label={s.places.chat}>
        <div class="column">
          {items.length === 0 && state.outbox.length === 0 && <Empty title={s.chatEmpty} hint={s.chatEmptyHint} />}
          {items.length > most && (
            <p><button type="button" class="link" onClick={() => setMost(most + SHOWN)}>{s.earlier(Math.min(SHOWN, items.length - most))}</button></p>
          )}
          <div class="talk" role="log" aria-live="polite" aria-relevant="additions" aria-label={s.places.chat}>
            {shown.map((event, index) => <Entry key={event.cursor} event={event} before={shown[index - 1]} markdown={markdown} cost={costs.get(event.envelope.turnId ?? "")} />)}
            {state.outbox.filter((item) => item.eventId === null || item.state === "sent").map((item) => <Unsent key={item.key} item={item} onAgain={() => store.resend(item.key)} onDrop={() => store.discard(item.key)} />)}
          </div>
        </div>
      </div>
      <Composer below={below} onBelow={() => {
        stuck.current = true;
        setBelow(false);
        box.current!.scrollTop = box.current!.scrollHeight;
      }} markdown={markdown} onMarkdown={(on) => {
        setMarkdown(on);
        shelf?.setItem("pushpals-markdown", on ? "1" : "0");
      }} />
    </>
  );
}

function Entry({ event: { envelope }, before, markdown, cost }: {
  event: CursoredEvent; before: CursoredEvent | undefined; markdown: boolean; cost: string | undefined;
}): VNode {
  const { s } = useConsole();
  const spoken = envelope.type === "message" || envelope.type === "assistant_message";
  if (!spoken) {
    const { text, tone } = line(envelope, s);
    const at = clock(envelope.ts);
    // The same minute is not said twice.
    const known = before !== undefined && clock(before.envelope.ts) === at;
    return <div class={`step ${tone}`}><time class="nums" dateTime={envelope.ts}>{known ? "" : at}</time><span><Text>{text}</Text></span></div>;
  }
  const person = envelope.type === "message";
  const { name, role } = speaker(envelope.from, person);
  const text = (envelope.payload as { text: string }).text;
  return (
    <div class={`said ${person ? "person" : "agent"}`}>
      <div class="by">
        <b><Text>{name}</Text></b><span>{s.role[role]}</span>
        {envelope.to && <span>→ <Text>{envelope.to}</Text></span>}
        <time class="nums" dateTime={envelope.ts} title={new Date(envelope.ts).toLocaleString()}>{clock(envelope.ts)}</time>
        {!person && cost && <span>{s.cost(cost)}</span>}
      </div>
      {markdown && !person ? <Markdown text={text} /> : <div class="words"><Text>{text}</Text></div>}
    </div>
  );
}

function Unsent({ item, onAgain, onDrop }: { item: Outgoing; onAgain: () => void; onDrop: () => void }): VNode {
  const { s } = useConsole();
  const why = item.state === "refused" ? s.refused(item.why ?? "") : item.state === "waiting" ? s.waiting : item.state === "sending" ? s.sending : "";
  return (
    <div class="said person pending" data-outgoing={item.state}>
      <div class="by"><span class={item.state === "refused" ? "problem" : ""}>{why}</span>
        {item.state === "refused" && <button type="button" class="link" onClick={onAgain}>{s.sendAgain}</button>}
        {item.state !== "sent" && item.state !== "sending" && <button type="button" class="link" onClick={onDrop}>{s.discard}</button>}
      </div>
      <div class="words"><Text>{item.text}</Text></div>
    </div>
  );
}

function Composer({ below, onBelow, markdown, onMarkdown }: {
  below: boolean; onBelow: () => void; markdown: boolean; onMarkdown: (on: boolean) => void;
}): VNode {
  const { s, state, store, may, shelf } = useConsole();
  const draft = `pushpals-draft-${state.session}`;
  const [text, setText] = useState(() => shelf?.getItem(draft) ?? "");
  const [to, setTo] = useState("");
  const action = useAction();
  const running = (state.snapshot?.jobs ?? []).filter((job) => job.status === "claimed" && !job.cancelRequested);
  const keep = (words: string): void => {
    setText(words);
    shelf?.setItem(draft, words);
  };
  const send = (): void => {
    const words = text.trim();
    if (words === "") return;
    void action.run(async () => {
      store.say(words, to || null);
      keep("");
    });
  };
  if (!may.say) return <div class="composer"><form><p class="dim">{s.approval.notYours}</p></form></div>;
  return (
    <div class="composer">
      <form onSubmit={(event) => {
        event.preventDefault();
        send();
      }}>
        <label>
          <span class="unseen">{s.composer}</span>
          <textarea rows={1} value={text} maxLength={200_000} placeholder={state.connection === "offline" ? s.composerOffline : s.composerPlaceholder}
            onInput={(event) => keep(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                send();
              }
            }} />
        </label>
        <button class="main" disabled={text.trim() === ""}>{s.send}</button>
        <div class="under">
          <label>{s.to}
            <select value={to} onChange={(event) => setTo(event.currentTarget.value)}>
              <option value="">{s.toTeam}</option><option value="local">{s.toLocal}</option>
            </select>
          </label>
          <label><input type="checkbox" checked={markdown} onChange={(event) => onMarkdown(event.currentTarget.checked)}
            style={{ width: "auto", minHeight: 0, accentColor: "var(--accent)" }} /> Markdown</label>
          {running.length > 0 && may.work && (
            <button type="button" class="link" disabled={action.busy}
              onClick={() => void action.run(() => Promise.all(running.map((job) => store.cancelJob(job.id, null))))}>{s.stop(running.length)}</button>
          )}
          {below && <button type="button" class="link" onClick={onBelow}>↓ {s.newBelow}</button>}
          {action.problem && <span class="problem" role="alert">{action.problem}</span>}
        </div>
      </form>
    </div>
  );
}

/** The events that the chat shows: what was said, and what came of it unless that was just said. */
function telling(events: readonly CursoredEvent[]): CursoredEvent[] {
  const shown: CursoredEvent[] = [];
  let said = "";
  for (const event of events) {
    const { type, payload } = event.envelope as { type: string; payload: Record<string, unknown> };
    if (type === "message" || type === "assistant_message") said = String(payload["text"]);
    else if (QUIET.has(type)) continue;
    else if (type === "landing_moved" && (payload["state"] === "submitted" || payload["state"] === "needs_approval")) continue;
    else if (type === "plan_made") said = String(payload["understanding"]);
    else if (type === "task_created" && said === payload["title"]) continue;
    else if ((type === "task_completed" || type === "task_failed") && said.includes(String(payload["summary"] ?? payload["message"]))) continue;
    shown.push(event);
  }
  return shown;
}

/** What a model run cost, where a job says so: shown with the words that it led to. */
function costsByMessage(jobs: readonly Job[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const job of jobs) {
    const text = costOf(job);
    if (text !== null && job.messageId) found.set(job.messageId, text);
  }
  return found;
}

export function costOf(job: Job): string | null {
  const output = (job.result?.output ?? {}) as Record<string, unknown>;
  const usd = output["costUsd"] ?? output["cost_usd"] ?? output["cost"];
  if (typeof usd === "number") return `$${usd.toFixed(usd < 0.1 ? 4 : 2)}`;
  const tokens = output["tokens"];
  return typeof tokens === "number" ? `${tokens.toLocaleString()} tokens` : null;
}
