/** Small parts: text that hides nothing, tags, times, receipts, facts. */
import { pieces, type Evidence } from "@pushpals/core";
import type { ComponentChildren, VNode } from "preact";
import { useState } from "preact/hooks";
import { useAction, useClock, useConsole } from "./context.js";
import type { Strings } from "./strings.js";

/** Text from elsewhere: as it is, with characters that cannot be seen spelled out. */
export function Text({ children }: { children: string | null | undefined }): VNode {
  const { s } = useConsole();
  const parts = pieces(children ?? "");
  if (parts.length === 1 && !parts[0]!.odd) return <>{parts[0]!.text}</>;
  return (
    <>
      {parts.map((part, index) =>
        part.odd ? <mark key={index} class="odd" title={s.oddCharacter(part.text)}>{part.text}</mark> : part.text,
      )}
    </>
  );
}

type Tone = "" | "good" | "bad" | "warn" | "on";

const TONES: Readonly<Record<string, [Tone, string]>> = {
  completed: ["good", "✓"], landed: ["good", "✓"], green: ["good", "✓"], noop: ["good", "="], passed: ["good", "✓"],
  approved: ["good", "✓"], open: ["", "○"], failed: ["bad", "✗"], rejected: ["bad", "✗"], conflict: ["bad", "✗"],
  stale: ["bad", "✗"], denied: ["bad", "✗"], timed_out: ["bad", "✗"], red: ["bad", "✗"], claimed: ["on", "▸"],
  checking: ["on", "▸"], composed: ["on", "▸"], prepared: ["on", "▸"], pushing: ["on", "▸"], busy: ["on", "▸"],
  started: ["on", "▸"], could_not_run: ["warn", "?"], needs_approval: ["warn", "!"], held: ["warn", "‖"],
  paused: ["warn", "‖"], draining: ["warn", "‖"], frozen: ["warn", "‖"], blocked: ["", "⋯"], scheduled: ["", "⋯"],
  cancelled: ["", "–"], expired: ["", "–"], void: ["", "–"],
};

/** A state in words, with a sign beside the colour. */
export function Tag({ state, children }: { state: string; children: ComponentChildren }): VNode {
  const [tone, sign] = TONES[state] ?? ["", "·"];
  return <span class={`tag ${tone}`} data-sign={sign}>{children}</span>;
}

export function span(ms: number, s: Strings): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return s.seconds(seconds);
  if (seconds < 5_400) return s.minutes(Math.round(seconds / 60));
  if (seconds < 172_800) return s.hours(Math.round(seconds / 3_600));
  return s.days(Math.round(seconds / 86_400));
}

/** "3 min ago", with the whole instant as a title. */
export function Ago({ at }: { at: string | null | undefined }): VNode | null {
  const { s } = useConsole();
  const now = useClock(15_000);
  if (!at) return null;
  const ms = now - Date.parse(at);
  return <time dateTime={at} title={new Date(at).toLocaleString()}>{ms < 5_000 ? s.now : s.ago(span(ms, s))}</time>;
}

export const clock = (at: string): string =>
  new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const short = (id: string | null | undefined): string => (id ?? "").slice(0, 12);

export function Facts({ rows }: { rows: readonly (readonly [string, ComponentChildren])[] }): VNode {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return (
    <dl class="facts">
      {shown.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}-`}>{value}</dd>])}
    </dl>
  );
}

export function Empty({ title, hint }: { title: string; hint?: string }): VNode {
  return <div class="empty"><strong>{title}</strong>{hint}</div>;
}

/** Receipts: what was run, on what, by whom, with which outcome. `verified` ones come from the merge queue. */
export function Receipts({ reported, verified }: { reported: readonly Evidence[]; verified: readonly Evidence[] }): VNode {
  const { s } = useConsole();
  const all = [
    ...verified.map((evidence) => ({ evidence, by: "verified" as const })),
    ...reported.map((evidence) => ({ evidence, by: "reported" as const })),
  ];
  if (all.length === 0) return <p class="dim">{s.receiptsEmpty}</p>;
  return (
    <ul class="list">
      {all.map(({ evidence, by }, index) => {
        const unknown = evidence.verdict === "could_not_run";
        const counts = Object.entries(evidence.counts ?? {})
          .filter(([, n]) => n > 0)
          .map(([name, n]) => `${n} ${s.counts[name as keyof Strings["counts"]] ?? name}`)
          .join(", ");
        const kind = unknown ? s.couldNotRun : by === "verified" ? s.verified : s.reported;
        const hint = unknown ? s.couldNotRunHint : by === "verified" ? s.verifiedHint : s.reportedHint;
        return (
          <li key={index}>
            <div class="item" style={{ cursor: "default" }}>
              <span class="title"><Text>{evidence.check}</Text></span>
              <Tag state={evidence.verdict}>{s.verdicts[evidence.verdict]}</Tag>
              <span class="meta nums">
                <span title={hint}>{kind}</span>
                {counts && <> · {counts}</>} · {(evidence.seconds ?? 0).toFixed(1)} s · <code>{short(evidence.commit)}</code>
                {evidence.sandbox && <> · <Text>{evidence.sandbox}</Text></>}
                {evidence.detail && <> · <Text>{evidence.detail}</Text></>}
                {(evidence.failures?.length ?? 0) > 0 && <div><Text>{evidence.failures!.slice(0, 5).join("\n")}</Text></div>}
              </span>
            </div>
          </li>
        );
      })}
    </ul>
  );
}

/** A button that asks for words before it acts: cancel with a reason, retry with a note. */
export function WithWords({ label, confirm, hint, tone, optional, run }: {
  label: string; confirm: string; hint: string; tone?: "no"; optional?: boolean; run: (words: string) => Promise<unknown>;
}): VNode {
  const { s } = useConsole();
  const [asking, setAsking] = useState(false);
  const [words, setWords] = useState("");
  const action = useAction();
  if (!asking) return <button type="button" class={tone ?? ""} onClick={() => setAsking(true)}>{label}</button>;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (await action.run(() => run(words.trim()))) {
      setAsking(false);
      setWords("");
    }
  };
  return (
    <form class="row-actions" style={{ flexBasis: "100%" }} onSubmit={(event) => void submit(event)}>
      <label style={{ flex: "1 1 14rem" }}>
        <span class="unseen">{hint}</span>
        <input autofocus value={words} placeholder={hint} required={!optional} maxLength={2000}
          onInput={(event) => setWords(event.currentTarget.value)} />
      </label>
      <button class={tone === "no" ? "no solid" : "main"} disabled={action.busy}>{confirm}</button>
      <button type="button" class="quiet" onClick={() => setAsking(false)}>{s.back}</button>
      {action.problem && <p class="problem" role="alert">{action.problem}</p>}
    </form>
  );
}

const PATHS: Readonly<Record<string, string>> = {
  inbox: "M4 13l2-8h12l2 8v6H4zM4 13h5l1 2h4l1-2h5",
  chat: "M4 5h16v11H9l-5 4z",
  work: "M5 7h14M5 12h14M5 17h8",
  changes: "M8 4v12M8 4L5 7M8 4l3 3M16 20V8M16 20l-3-3M16 20l3-3",
  queue: "M4 6h10M4 12h10M4 18h10M18 5v14M18 19l-2-2M18 19l2-2",
  timeline: "M12 5v7l4 2M12 3a9 9 0 1 0 .01 0z",
};

export function Icon({ name }: { name: string }): VNode {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round"
      stroke-linejoin="round" aria-hidden="true" focusable="false"><path d={PATHS[name]} /></svg>
  );
}
