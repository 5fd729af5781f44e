/** The frame: where one is, what needs one, whether it is live. */
import type { SessionStore } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Changes } from "./changes.js";
import { Chat } from "./chat.js";
import { ConsoleContext, useStoreState, type Console } from "./context.js";
import { Inbox, InboxList } from "./inbox.js";
import type { Capabilities, MountOptions, Place, Theme } from "./mount.js";
import { Icon } from "./parts.js";
import { Queue } from "./queue.js";
import { withStrings } from "./strings.js";
import { Timeline } from "./timeline.js";
import { Work } from "./work.js";

const PLACES: readonly Place[] = ["inbox", "chat", "work", "changes", "queue", "timeline"];

export interface Going {
  place: Place | null;
  id: string | null;
  serial: number;
}

export function App({ options, store, theme, going, shelf }: {
  options: MountOptions; store: SessionStore; theme: Theme; going: Going; shelf: Storage | null;
}): VNode {
  const state = useStoreState(store);
  const s = useMemo(() => withStrings(options.strings), [options.strings]);
  const needs = store.needsYou;
  const [place, setPlace] = useState<Place | null>(going.place ?? options.place ?? null);
  const [ids, setIds] = useState<Partial<Record<Place, string | null>>>({});
  const loaded = state.snapshot !== null;
  const shown: Place = place ?? (needs.length > 0 ? "inbox" : "chat");

  // Where to begin is decided once, when there is something to decide from.
  useEffect(() => {
    if (loaded && place === null) setPlace(shown);
  }, [loaded]);
  useEffect(() => {
    if (going.serial > 0 && going.place !== null) show(going.place, going.id ?? undefined);
  }, [going.serial]);
  useEffect(() => options.onNeedsYou?.(needs), [needs]);

  const show = (to: Place, id?: string): void => {
    setPlace(to);
    if (id !== undefined) setIds((old) => ({ ...old, [to]: id }));
  };
  const may: Capabilities = useMemo(() => ({ say: true, decide: true, work: true, manage: true, ...options.capabilities }), [options.capabilities]);
  const context: Console = { store, state, s, may, device: options.device ?? "browser", show, shelf };
  const pick = (to: Place) => (id: string | null) => setIds((old) => ({ ...old, [to]: id }));
  const counts: Partial<Record<Place, number>> = {
    work: (state.snapshot?.jobs ?? []).filter((job) => job.status === "claimed" || job.status === "pending").length,
    queue: (state.snapshot?.landings ?? []).filter((landing) => ["queued", "prepared", "composed", "checking", "green", "pushing"].includes(landing.state)).length,
  };

  return (
    <ConsoleContext.Provider value={context}>
      <div class="pp" data-theme={theme} lang={options.strings ? undefined : "en"}>
        <header class="bar">
          <h1 class="unseen">{`${s.product}: ${s.places[shown]}`}</h1>
          <span class="name" aria-hidden="true">{s.product}</span>
          {options.onSession && state.sessions.length > 0 ? (
            <label class="pick"><span class="unseen">{s.session}</span>
              <select value={state.session} onChange={(event) => options.onSession!(event.currentTarget.value)}>
                {!state.sessions.some(({ id }) => id === state.session) && <option value={state.session}>{state.session}</option>}
                {state.sessions.map(({ id, label }) => <option key={id} value={id}>{label ? `${id}, ${label}` : id}</option>)}
              </select>
            </label>
          ) : <span class="dim">{state.session}</span>}
          <span class="room" />
          <span class={`state ${state.connection}`} role="status"><i aria-hidden="true" />
            {state.connection === "live" ? s.live : state.connection === "offline" ? s.offline : s.catchingUp}</span>
          {options.actions?.map(({ label, run }) => <button key={label} type="button" class="quiet" onClick={run}>{label}</button>)}
        </header>
        {state.connection === "offline" && loaded && <p class="notice" role="status">{s.offlineNote}{state.why ? ` (${state.why})` : ""}</p>}
        {state.problem !== null && <p class="notice problem" role="alert">{state.problem}</p>}
        <div class="body">
          <nav class="places" aria-label={s.navigation}>
            {PLACES.map((name) => {
              const count = name === "inbox" ? needs.length : (counts[name] ?? 0);
              return (
                <button key={name} type="button" aria-current={name === shown ? "page" : undefined} onClick={() => {
                  if (name === shown) pick(name)(null);
                  show(name);
                }}>
                  <Icon name={name} /><span class="text">{s.places[name]}</span>
                  {count > 0 && <span class={`badge ${name === "inbox" ? "" : "plain"}`}>{count}</span>}
                </button>
              );
            })}
          </nav>
          <main class="place" key={shown} data-place={shown}>
            {shown === "inbox" && <Inbox picked={ids.inbox ?? null} onPick={pick("inbox")} />}
            {shown === "chat" && <Chat />}
            {shown === "work" && <Work picked={ids.work ?? null} onPick={pick("work")} />}
            {shown === "changes" && <Changes picked={ids.changes ?? null} onPick={pick("changes")} />}
            {shown === "queue" && <Queue />}
            {shown === "timeline" && <Timeline />}
          </main>
          {(shown === "chat" || shown === "queue") && needs.length > 0 && (
            <aside class="side" aria-label={s.places.inbox}>
              <div class="scroll" tabIndex={0} role="region" aria-label={s.places.inbox}><div class="column">
                <p class="label" style={{ marginBottom: ".4rem" }}>{s.places.inbox}</p>
                <InboxList items={needs} current={null} onPick={(id) => show("inbox", id)} />
              </div></div>
            </aside>
          )}
        </div>
      </div>
    </ConsoleContext.Provider>
  );
}
