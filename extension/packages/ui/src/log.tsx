/** The output of a job: the newest lines, drawn as far as they can be seen. */
import { ansi, type Job } from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useConsole } from "./context.js";
import { Virtual } from "./virtual.js";
import { Text } from "./parts.js";

export function LogTail({ job }: { job: Job }): VNode {
  const { s, store, state } = useConsole();
  const [follow, setFollow] = useState(true);
  const output = store.logs.of(job.id);
  const from = state.view.jobs.get(job.id)?.cursor ?? 0;
  useEffect(() => {
    const stop = new AbortController();
    // What was printed before this page was opened.
    if (output.lines[0]?.seq !== 1 && (job.logLines ?? 0) > output.lines.length) {
      void store.loadLog(job.id, from, stop.signal).catch(() => {});
    }
    return () => stop.abort();
  }, [job.id, store]);
  const { lines, dropped } = output;
  return (
    <div class="log">
      <header>
        <span class="nums">{lines.length === 0 ? s.logEmpty : s.logLines(lines.length + dropped)}</span>
        {dropped > 0 && <span class="nums">{s.logDropped(dropped)}</span>}
        {lines.length > 0 && <button type="button" aria-pressed={follow} onClick={() => setFollow(!follow)}>{follow ? s.following : s.follow}</button>}
      </header>
      {lines.length > 0 && (
        <Virtual fit count={lines.length} height={18} label={s.log} role="log" stick={follow} onStick={(at) => at && setFollow(true)} version={output.version}
          width={`${Math.min(2_000, lines.slice(-400).reduce((most, { line }) => Math.max(most, line.length), 40)) + 3}ch`}
          render={(index) => {
            const { line, stream } = lines[index]!;
            return <div class={`slot ${stream}`} style={{ position: "static" }}>{ansi(line).map((part, at) =>
              <span key={at} class={part.style ? part.style.split(" ").map((name) => `ansi-${name}`).join(" ") : undefined}><Text>{part.text}</Text></span>)}</div>;
          }} />
      )}
    </div>
  );
}
