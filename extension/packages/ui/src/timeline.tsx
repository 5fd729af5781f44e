/** Everything that happened, in order; search; and the session as it was at any moment. */
import { compare, search, type CursoredEvent, type Difference, type SessionView } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useAction, useConsole } from "./context.js";
import { Empty, Tag, Text, clock } from "./parts.js";
import { Virtual } from "./virtual.js";
import { line, speaker } from "./words.js";

export function Timeline(): VNode {
  const { s, state, store } = useConsole();
  const [query, setQuery] = useState("");
  const [hits, setHits] = useState<readonly CursoredEvent[] | null>(null);
  const [busy, setBusy] = useState(false);
  const [at, setAt] = useState<number | null>(null);
  useEffect(() => {
    const words = query.trim();
    if (words.length < 2) {
      setHits(null);
      return undefined;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      setBusy(true);
      search(store.transport, state.session, words, store.get().view.cursor, (found) => stop.signal.aborted || setHits([...found]), stop.signal)
        .then((found) => stop.signal.aborted || setHits(found), () => {})
        .finally(() => stop.signal.aborted || setBusy(false));
    }, 250);
    return () => {
      clearTimeout(timer);
      stop.abort();
      setBusy(false);
    };
  }, [query, store]);
  const events = hits ?? state.events;
  // Newest first when searching, in order otherwise.
  return (
    <>
      <div class="machine">
        <label><span class="unseen">{s.search}</span>
          <input type="search" value={query} placeholder={s.search} onInput={(event) => setQuery(event.currentTarget.value)} /></label>
        <p class="small dim nums" role="status">{busy ? s.searching : hits ? s.searchResults(hits.length) : s.searchMore(events.length)}</p>
      </div>
      {at !== null && <Machine key="machine" at={at} onClose={() => setAt(null)} />}
      {events.length === 0
        ? <div class="column"><Empty title={hits ? s.searchResults(0) : s.timelineEmpty} /></div>
        : (
          <Virtual class="fill" label={s.places.timeline} count={events.length} height={26} version={events} stick={hits === null && at === null}
            rowKey={(index) => events[index]!.cursor}
            render={(index) => {
              const { cursor, envelope } = events[index]!;
              const words = line(envelope, s);
              return (
                <div class="tl">
                  <button type="button" tabIndex={-1} aria-label={`${s.machine} ${cursor}`} onClick={() => setAt(cursor)}>{cursor}</button>
                  <time class="dim nums time" dateTime={envelope.ts}>{clock(envelope.ts)}</time>
                  <span class="dim from"><Text>{speaker(envelope.from, envelope.type === "message").name}</Text></span>
                  <span class={words.tone === "bad" ? "problem" : ""} title={envelope.type}><Text>{words.text.replace(/\s+/g, " ").slice(0, 400)}</Text></span>
                </div>
              );
            }} />
        )}
      {at === null && state.view.cursor > 0 && (
        <div class="sendbar"><span class="dim">{s.machineHint}</span>
          <button type="button" onClick={() => setAt(state.view.cursor)}>{s.machine}</button></div>
      )}
    </>
  );
}

function Machine({ at, onClose }: { at: number; onClose: () => void }): VNode {
  const { s, state, store } = useConsole();
  const first = state.snapshot?.session.first ?? 1;
  const last = state.view.cursor;
  const [cursor, setCursor] = useState(at);
  const [other, setOther] = useState("");
  const [view, setView] = useState<SessionView | null>(null);
  const [differences, setDifferences] = useState<readonly Difference[] | null>(null);
  const action = useAction();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => setCursor(at), [at]);
  const look = (to: number): void => {
    void action.run(async () => {
      const shown = await store.viewAt(to);
      setView(shown);
      const with_ = Number(other);
      setDifferences(other !== "" && with_ !== to ? compare(...order(shown, await store.viewAt(with_))) : null);
      box.current?.focus();
    });
  };
  useEffect(() => look(at), [at]);
  return (
    <section class="machine" aria-label={s.machine} style={{ maxHeight: "55%", overflowY: "auto" }}>
      <form class="row" onSubmit={(event) => {
        event.preventDefault();
        look(cursor);
      }}>
        <label class="grow"><span class="label">{s.at} <b class="nums">{cursor}</b></span>
          <input type="range" min={first} max={last} value={cursor} onInput={(event) => setCursor(Number(event.currentTarget.value))} onChange={(event) => look(Number(event.currentTarget.value))} /></label>
        <label><span class="label">{s.compareWith}</span>
          <input type="number" inputMode="numeric" min={first} max={last} value={other} onInput={(event) => setOther(event.currentTarget.value)} /></label>
        <button disabled={action.busy}>{s.look}</button>
        <button type="button" class="quiet" onClick={onClose}>{s.close}</button>
      </form>
      <div ref={box} tabIndex={-1} role="status">
        {action.busy && <p class="dim">{s.machineLoading}</p>}
        {action.problem && <p class="problem">{action.problem}</p>}
        {view && !action.busy && !differences && <Was view={view} />}
        {differences && !action.busy && (differences.length === 0 ? <p class="dim">{s.same}</p> : (
          <ul class="list">{differences.slice(0, 500).map((one, index) => (
            <li key={index}><div class="item" style={{ cursor: "default" }}>
              <span><span class="dim">{s.parts[one.part]}: </span><Text>{one.title.slice(0, 300)}</Text></span>
              {one.after && <Tag state={one.after}>{one.before ? s.was(one.before, one.after) : `${s.appeared}, ${one.after}`}</Tag>}
            </div></li>
          ))}</ul>
        ))}
      </div>
    </section>
  );
}

const order = (a: SessionView, b: SessionView): [SessionView, SessionView] => (a.cursor <= b.cursor ? [a, b] : [b, a]);

function Was({ view }: { view: SessionView }): VNode {
  const { s } = useConsole();
  const rows: [string, string, { id: string; title: string; state: string }[]][] = [
    ["approvals", s.parts.approvals, [...view.approvals.values()].map(({ id, summary, state }) => ({ id, title: summary, state }))],
    ["tasks", s.parts.tasks, [...view.tasks.values()].map(({ id, title, state }) => ({ id, title, state }))],
    ["jobs", s.parts.jobs, [...view.jobs.values()].map(({ id, kind, state, why }) => ({ id, title: why ? `${kind}: ${why}` : kind, state }))],
    ["landings", s.parts.landings, [...view.landings.values()].map(({ id, head, state }) => ({ id, title: head?.slice(0, 12) ?? id, state }))],
  ];
  const said = view.messages.at(-1);
  return (
    <>
      <p class="nums"><b>{s.machineAt(view.cursor, view.ts ? new Date(view.ts).toLocaleString() : "")}</b></p>
      {said && <p class="dim"><Text>{`${speaker(said.by, said.person).name}: ${said.text.slice(0, 300)}`}</Text></p>}
      {rows.map(([name, title, items]) => items.length > 0 && (
        <div key={name} style={{ marginTop: ".6rem" }}><p class="label">{title}</p>
          <ul class="list">{items.slice(-30).reverse().map((item) => (
            <li key={item.id}><div class="item" style={{ cursor: "default", minHeight: 0, padding: ".2rem .25rem" }}>
              <span><Text>{item.title}</Text></span><Tag state={item.state}>{item.state.replaceAll("_", " ")}</Tag></div></li>
          ))}</ul></div>
      ))}
    </>
  );
}
