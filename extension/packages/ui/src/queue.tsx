/** The merge queue: lanes and who holds them, landings in their order, and the workers. */
import { LANDING_ENDS, type Landing } from "@pushpals/core";
import type { VNode } from "preact";
import { useAction, useConsole } from "./context.js";
import { Ago, Empty, Tag, Text, WithWords, short } from "./parts.js";

export function Queue(): VNode {
  const { s, state } = useConsole();
  const lanes = state.snapshot?.lanes ?? [];
  const landings = state.snapshot?.landings ?? [];
  const workers = state.snapshot?.workers ?? [];
  const waiting = landings.filter((landing) => !LANDING_ENDS.has(landing.state));
  const ended = landings.filter((landing) => LANDING_ENDS.has(landing.state)).slice(0, 50);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={s.places.queue}>
      <div class="column">
        <h2 class="label">{s.lanes}</h2>
        {lanes.length === 0 && <Empty title={s.laneEmpty} hint={s.laneEmptyHint} />}
        <ul class="list">{lanes.map((lane) => <Lane key={lane.id} id={lane.id} />)}</ul>
        <div class="section">
          <h2 class="label">{s.landings}</h2>
          {waiting.length === 0 && <Empty title={s.landingEmpty} hint={s.landingEmptyHint} />}
          <ol class="list">{waiting.map((landing) => <LandingRow key={landing.id} landing={landing} />)}</ol>
        </div>
        <div class="section">
          <h2 class="label">{s.workers}</h2>
          {workers.length === 0 && <Empty title={s.workersEmpty} hint={s.workersEmptyHint} />}
          <ul class="list">{workers.map((worker) => <WorkerRow key={worker.id} id={worker.id} />)}</ul>
        </div>
        {ended.length > 0 && (
          <div class="section"><h2 class="label">{s.ended}</h2><ul class="list">{ended.map((landing) => <LandingRow key={landing.id} landing={landing} />)}</ul></div>
        )}
      </div>
    </div>
  );
}

function Lane({ id }: { id: string }): VNode | null {
  const { s, state, store, may } = useConsole();
  const action = useAction();
  const lane = state.snapshot?.lanes.find((one) => one.id === id);
  if (!lane) return null;
  const mode = lane.mode ?? "open";
  return (
    <li>
      <div class="item" style={{ cursor: "default" }}>
        <span class="title"><Text>{lane.id}</Text></span>
        <Tag state={mode === "open" ? "approved" : mode}>{s.laneModes[mode]}</Tag>
        <span class="meta nums">{lane.head && <><code>{short(lane.head)}</code> · </>}{s.since("")}<Ago at={lane.since} />
          {lane.holder && <> · <Text>{lane.holder}</Text></>}{lane.cause && <> · <Text>{lane.cause}</Text></>}</span>
        {may.manage && (
          <span class="meta row-actions" style={{ paddingTop: ".3rem" }}>
            {mode === "open"
              ? <WithWords label={s.pause} confirm={s.pause} hint={s.approval.reason} optional run={(words) => store.setLane(id, "paused", words || null)} />
              : <button type="button" disabled={action.busy} onClick={() => void action.run(() => store.setLane(id, "open", null))}>{s.open}</button>}
            {action.problem && <span class="problem" role="alert">{action.problem}</span>}
          </span>
        )}
      </div>
    </li>
  );
}

function LandingRow({ landing }: { landing: Landing }): VNode {
  const { s, store, may, show } = useConsole();
  const action = useAction();
  const over = LANDING_ENDS.has(landing.state);
  const commit = landing.landedCommit ?? landing.candidate?.commit ?? landing.head;
  return (
    <li>
      <div class="item" style={{ cursor: "default" }}>
        <button type="button" class="link title" style={{ textAlign: "start", color: "inherit" }} onClick={() => show("changes", landing.id)}><Text>{landing.title}</Text></button>
        <Tag state={landing.state}>{s.landingStates[landing.state] ?? landing.state}</Tag>
        <span class="meta nums"><code>{short(commit)}</code> · <Text>{`${landing.branch} → ${landing.target}`}</Text> · <Ago at={landing.since || landing.updatedAt} />
          {landing.cause && <> · <Text>{landing.cause}</Text></>}</span>
        {may.work && (!over || ["conflict", "rejected", "failed", "stale", "cancelled"].includes(landing.state)) && (
          <span class="meta row-actions" style={{ paddingTop: ".3rem" }}>
            {!over
              ? landing.state === "needs_approval"
                ? <button type="button" onClick={() => show("inbox", landing.approvalId ?? undefined)}>{s.places.inbox}</button>
                : <WithWords label={s.takeOut} confirm={s.takeOutConfirm} hint={s.approval.reason} tone="no" optional run={(words) => store.cancelLanding(landing.id, words || null)} />
              : <button type="button" disabled={action.busy} onClick={() => void action.run(() => store.retryLanding(landing.id))}>{s.landAgain}</button>}
            {action.problem && <span class="problem" role="alert">{action.problem}</span>}
          </span>
        )}
      </div>
    </li>
  );
}

function WorkerRow({ id }: { id: string }): VNode | null {
  const { s, state, store, may, show } = useConsole();
  const action = useAction();
  const worker = state.snapshot?.workers.find((one) => one.id === id);
  if (!worker) return null;
  const jobs = worker.jobs ?? [];
  return (
    <li>
      <div class="item" style={{ cursor: "default" }}>
        <span class="title"><Text>{worker.id}</Text></span>
        <Tag state={worker.state}>{s.workerStates[worker.state]}</Tag>
        <span class="meta"><Text>{`${s.facts.sandbox}: ${worker.sandbox ?? "none"}`}</Text>{worker.sandboxReason && <> (<Text>{worker.sandboxReason}</Text>)</>}
          {worker.host && <> · <Text>{worker.host}</Text></>}
          {(worker.kinds?.length ?? 0) > 0 && <> · <Text>{worker.kinds!.join(", ")}</Text></>}
          {worker.note && <> · <Text>{worker.note}</Text></>}</span>
        {(jobs.length > 0 || may.manage) && (
          <span class="meta row-actions" style={{ paddingTop: ".3rem" }}>
            {jobs.map((job) => <button key={job} type="button" class="link" onClick={() => show("work", job)}>{s.openJob} {short(job)}</button>)}
            {may.manage && (worker.state === "draining" || worker.state === "paused"
              ? <button type="button" disabled={action.busy} onClick={() => void action.run(() => store.setWorker(id, "idle"))}>{s.resume}</button>
              : <button type="button" disabled={action.busy} onClick={() => void action.run(() => store.setWorker(id, "draining"))}>{s.drain}</button>)}
            {action.problem && <span class="problem" role="alert">{action.problem}</span>}
          </span>
        )}
      </div>
    </li>
  );
}
