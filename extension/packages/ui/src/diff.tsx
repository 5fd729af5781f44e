/**
 * A diff, drawn: all files in one virtual list, so that five thousand lines open like fifty.
 *
 * One text node a word, never markup. Lines can be walked with the arrow keys and commented with Enter; files
 * with `n` and `p`. Without `review` it is for reading only.
 */
import {
  anchor, hunkKey, pairs, words, type Comment, type DiffFile, type DiffLine, type Hunk, type Rejections, type Side, type Word,
} from "@pushpals/core";
import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useConsole } from "./context.js";
import { Text } from "./parts.js";
import { Virtual } from "./virtual.js";

export interface Review {
  readonly comments: readonly Comment[];
  readonly rejected: Rejections;
  add(path: string, side: Side, line: number, snippet: string, text: string): void;
  remove(id: string): void;
  /** Missing where nothing can be taken back any more. */
  reject?: ((key: string, rejected: boolean) => void) | undefined;
}

type Row =
  | { t: "file"; file: DiffFile }
  | { t: "note"; text: string; key: string }
  | { t: "hunk"; file: DiffFile; hunk: Hunk }
  | { t: "line"; file: DiffFile; hunk: Hunk; at: number }
  | { t: "pair"; file: DiffFile; hunk: Hunk; left: number | null; right: number | null }
  | { t: "comment"; comment: Comment; state: "here" | "moved" | "stale" }
  | { t: "editor"; file: DiffFile; line: DiffLine };

const HEIGHTS: Readonly<Record<Row["t"], number>> = { file: 40, note: 24, hunk: 30, line: 20, pair: 20, comment: 74, editor: 150 };

export function DiffView({ files, split, guarded, review, goTo, onFile, fit }: {
  files: readonly DiffFile[]; split: boolean; guarded: ReadonlySet<string>; review?: Review | undefined;
  goTo?: { path: string; serial: number } | null; onFile?: (path: string) => void; fit?: boolean;
}): VNode {
  const { s } = useConsole();
  const [editing, setEditing] = useState<{ path: string; side: Side; line: number } | null>(null);
  const [focus, setFocus] = useState(0);
  const [jump, setJump] = useState<{ index: number; serial: number } | null>(null);
  const wantsFocus = useRef(false);
  const root = useRef<HTMLDivElement>(null);

  const rows = useMemo(() => layout(files, split, review?.comments ?? [], editing, s.noNewline, s), [files, split, review?.comments, editing, s]);
  const columns = useMemo(() => widest(files), [files]);
  const starts = useMemo(() => rows.flatMap((row, index) => (row.t === "file" ? [{ index, path: row.file.path }] : [])), [rows]);

  useEffect(() => {
    const start = goTo && starts.find(({ path }) => path === goTo.path);
    if (start) {
      setFocus(start.index);
      setJump({ index: start.index, serial: goTo.serial });
    }
  }, [goTo?.serial]);

  useEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    root.current?.querySelector<HTMLElement>(`[data-row="${focus}"]`)?.focus({ preventScroll: false });
  });

  const isLine = (index: number): boolean => rows[index]?.t === "line" || rows[index]?.t === "pair";
  const move = (to: number): void => {
    setFocus(to);
    wantsFocus.current = true;
    if (root.current?.querySelector(`[data-row="${to}"]`) === null) setJump({ index: Math.max(0, to - 4), serial: Date.now() });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if ((event.target as HTMLElement).closest("textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const way = event.key === "ArrowDown" ? 1 : -1;
      let to = focus + way;
      while (to >= 0 && to < rows.length && !isLine(to)) to += way;
      if (to < 0 || to >= rows.length) return;
      event.preventDefault();
      move(to);
    } else if (event.key === "n" || event.key === "p") {
      const next = event.key === "n" ? starts.find(({ index }) => index > focus) : starts.findLast(({ index }) => index < focus);
      if (!next) return;
      event.preventDefault();
      setFocus(next.index);
      setJump({ index: next.index, serial: Date.now() });
    }
  };

  const edit = (file: DiffFile, line: DiffLine): void => {
    if (!review) return;
    const side: Side = line.new !== null ? "new" : "old";
    setEditing({ path: file.path, side, line: (line.new ?? line.old)! });
  };
  const number = (index: number, file: DiffFile, line: DiffLine): VNode => {
    const n = line.new ?? line.old;
    if (!review) return <span class="n">{n}</span>;
    return (
      <button type="button" class="n" data-row={index} tabIndex={index === focus ? 0 : -1} aria-label={s.commentOn(n!)}
        onClick={() => edit(file, line)} onFocus={() => setFocus(index)}>{n}</button>
    );
  };

  const draw = (index: number): VNode => {
    const row = rows[index]!;
    switch (row.t) {
      case "file": return <FileHead file={row.file} guarded={guarded.has(row.file.path)} review={review} />;
      case "note": return <div class="dnote"><Text>{row.text}</Text></div>;
      case "hunk": return <HunkHead file={row.file} hunk={row.hunk} review={review} />;
      case "line": {
        const line = row.hunk.lines[row.at]!;
        const tone = line.kind === "+" ? "add" : line.kind === "-" ? "del" : "";
        return (
          <div class={`dl ${tone}`}>
            {line.new === null ? number(index, row.file, line) : <span class="n">{line.old}</span>}
            {line.new === null ? <span class="n" /> : number(index, row.file, line)}
            <span class="s">{sign(line)}</span>
            <code class="c"><Line hunk={row.hunk} at={row.at} /></code>
          </div>
        );
      }
      case "pair": return (
        <div class="dl two">
          {[row.left, row.right].map((at, side) => {
            const line = at === null ? null : row.hunk.lines[at]!;
            const tone = line === null ? "none" : line.kind === "+" ? "add" : line.kind === "-" ? "del" : "";
            const shown = line === null ? null : side === 0 ? line.old : line.new;
            return (
              <div class="cell" key={side}>
                {line !== null && (side === 1 || row.right === null) ? number(index, row.file, line) : <span class={`n ${tone}`}>{shown}</span>}
                <span class={`s ${tone}`}>{line === null ? "" : sign(line)}</span>
                <code class={`c ${tone}`}>{at === null ? "" : <Line hunk={row.hunk} at={at} />}</code>
              </div>
            );
          })}
        </div>
      );
      case "comment": return (
        <div class="cmt">
          <div class="row-actions dim">
            <span>{row.comment.path}:{row.comment.line}</span>
            {row.state === "stale" && <span class="tag bad" data-sign="✗">{s.stale}</span>}
            {row.state === "moved" && <span class="tag warn" data-sign="↕">{s.moved}</span>}
            <button type="button" class="link" onClick={() => review?.remove(row.comment.id)}>{s.removeComment}</button>
          </div>
          <div>{row.comment.text}</div>
        </div>
      );
      case "editor": return (
        <Editor onCancel={() => setEditing(null)} onDone={(text) => {
          review?.add(editing!.path, editing!.side, editing!.line, row.line.text, text);
          setEditing(null);
        }} />
      );
    }
  };

  return (
    <div ref={root} style={{ display: "contents" }}>
      <Virtual class="difftable" fit={fit ?? false} label={s.places.changes} count={rows.length} height={(index) => HEIGHTS[rows[index]!.t]} version={rows}
        rowKey={(index) => rowKey(rows[index]!)} measured={(index) => rows[index]!.t === "comment" || rows[index]!.t === "editor"}
        width={split ? `max(100%, calc(${2 * columns}ch + 12em))` : `max(100%, calc(${columns}ch + 9.5em))`}
        render={draw} onKeyDown={onKeyDown} goTo={jump}
        onTop={(index) => {
          const at = starts.findLast((start) => start.index <= index);
          if (at) onFile?.(at.path);
        }} />
    </div>
  );
}

const sign = (line: DiffLine): string => (line.kind === "-" ? "−" : line.kind === "+" ? "+" : "");

function FileHead({ file, guarded, review }: { file: DiffFile; guarded: boolean; review: Review | undefined }): VNode {
  const { s } = useConsole();
  const rejected = review?.rejected.has(file.path) ?? false;
  return (
    <div class={`fh ${rejected ? "rejected" : ""}`} role="heading" aria-level={3}>
      <span class="path" title={file.path}><Text>{file.path}</Text></span>
      {guarded && <span class="tag warn" data-sign="!">{s.protected}</span>}
      <span class="dim">{file.status !== "modified" && s.fileStatus[file.status]}</span>
      <span class="room" />
      <span class="plusminus nums"><b>+{file.added}</b> <i>−{file.deleted}</i></span>
      {review?.reject && <button type="button" aria-pressed={rejected} aria-label={`${rejected ? s.rejected : s.reject} ${file.path}`} onClick={() => review.reject!(file.path, !rejected)}>{rejected ? s.rejected : s.reject}</button>}
    </div>
  );
}

function HunkHead({ file, hunk, review }: { file: DiffFile; hunk: Hunk; review: Review | undefined }): VNode {
  const { s } = useConsole();
  const key = hunkKey(file, hunk);
  const rejected = review?.rejected.has(key) ?? false;
  return (
    <div class={`hh ${rejected ? "rejected" : ""}`}>
      <span><Text>{hunk.header}</Text></span>
      {review?.reject && file.hunks.length > 1 && (
        <button type="button" aria-pressed={rejected} aria-label={`${rejected ? s.rejected : s.reject} ${hunk.header}`}
          onClick={() => review.reject!(key, !rejected)}>{rejected ? s.rejected : s.reject}</button>
      )}
    </div>
  );
}

function Editor({ onDone, onCancel }: { onDone: (text: string) => void; onCancel: () => void }): VNode {
  const { s } = useConsole();
  const [text, setText] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.focus({ preventScroll: true }), []);
  return (
    <form class="cmt" onSubmit={(event) => {
      event.preventDefault();
      if (text.trim()) onDone(text.trim());
    }}>
      <label><span class="unseen">{s.comment}</span>
        <textarea ref={box} rows={2} value={text} placeholder={s.commentHint} onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") onCancel();
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && text.trim()) onDone(text.trim());
          }} />
      </label>
      <div class="row-actions">
        <button class="main" disabled={!text.trim()}>{s.addComment}</button>
        <button type="button" class="quiet" onClick={onCancel}>{s.cancel}</button>
      </div>
    </form>
  );
}

// --- lines and words --------------------------------------------------------------------------------------

const partners = new WeakMap<Hunk, Map<number, number>>();
const wordings = new WeakMap<DiffLine, readonly Word[]>();

function Line({ hunk, at }: { hunk: Hunk; at: number }): VNode {
  const line = hunk.lines[at]!;
  const parts = wording(hunk, at, line);
  if (parts === null) return <Text>{line.text}</Text>;
  return <>{parts.map((word, index) => word.changed
    ? <span key={index} class="changed"><Text>{word.text}</Text></span> : <Text key={index}>{word.text}</Text>)}</>;
}

function wording(hunk: Hunk, at: number, line: DiffLine): readonly Word[] | null {
  if (line.kind === " ") return null;
  const known = wordings.get(line);
  if (known) return known;
  let paired = partners.get(hunk);
  if (!paired) partners.set(hunk, (paired = pairs(hunk.lines)));
  const other = paired.get(at);
  if (other === undefined) return null;
  const [before, after] = line.kind === "-" ? [at, other] : [other, at];
  const [left, right] = words(hunk.lines[before]!.text, hunk.lines[after]!.text);
  wordings.set(hunk.lines[before]!, left);
  wordings.set(hunk.lines[after]!, right);
  return line.kind === "-" ? left : right;
}

function layout(
  files: readonly DiffFile[], split: boolean, comments: readonly Comment[],
  editing: { path: string; side: Side; line: number } | null, noNewline: string,
  s: { binaryFile: string; modeChange: (from: string, to: string) => string; movedFrom: (path: string) => string },
): Row[] {
  const rows: Row[] = [];
  for (const file of files) {
    rows.push({ t: "file", file });
    const note = (text: string): number => rows.push({ t: "note", text, key: `${file.path} ${text}` });
    if (file.oldPath !== file.path && (file.status === "renamed" || file.status === "copied")) note(s.movedFrom(file.oldPath));
    if (file.oldMode && file.newMode && file.oldMode !== file.newMode) note(s.modeChange(file.oldMode, file.newMode));
    else if (file.newMode && file.newMode !== "100644" && file.status === "added") note(s.modeChange("–", file.newMode));
    if (file.binary) note(s.binaryFile);
    for (const text of file.notes) note(text);
    const own = comments.filter((comment) => comment.path === file.path).map((comment) => ({ comment, place: anchor(comment, file) }));
    for (const { comment, place } of own) if (place.state === "stale") rows.push({ t: "comment", comment, state: "stale" });
    const after = (line: DiffLine): void => {
      for (const { comment, place } of own) {
        if (place.state !== "stale" && place.line === (comment.side === "new" ? line.new : line.old)) {
          rows.push({ t: "comment", comment, state: place.state });
        }
      }
      if (editing?.path === file.path && editing.line === (editing.side === "new" ? line.new : line.new === null ? line.old : null)) {
        rows.push({ t: "editor", file, line });
      }
      if (line.unterminated) rows.push({ t: "note", text: `\\ ${noNewline}`, key: `${file.path} ${line.kind} end` });
    };
    for (const hunk of file.hunks) {
      rows.push({ t: "hunk", file, hunk });
      if (!split) {
        hunk.lines.forEach((line, at) => {
          rows.push({ t: "line", file, hunk, at });
          after(line);
        });
        continue;
      }
      const paired = pairs(hunk.lines);
      const done = new Set<number>();
      hunk.lines.forEach((line, at) => {
        if (done.has(at)) return;
        const other = paired.get(at);
        if (line.kind === " ") rows.push({ t: "pair", file, hunk, left: at, right: at });
        else if (line.kind === "-") rows.push({ t: "pair", file, hunk, left: at, right: other ?? null });
        else rows.push({ t: "pair", file, hunk, left: null, right: at });
        if (other !== undefined) {
          done.add(other);
          after(hunk.lines[other]!);
        }
        after(line);
      });
    }
  }
  const known = new Set(files.map((file) => file.path));
  for (const comment of comments) if (!known.has(comment.path)) rows.push({ t: "comment", comment, state: "stale" });
  return rows;
}

function rowKey(row: Row): string {
  switch (row.t) {
    case "file": return `f ${row.file.path}`;
    case "note": return `o ${row.key}`;
    case "hunk": return `h ${hunkKey(row.file, row.hunk)}`;
    case "line": return `l ${row.file.path} ${row.hunk.header} ${row.at}`;
    case "pair": return `p ${row.file.path} ${row.hunk.header} ${row.left} ${row.right}`;
    case "comment": return `c ${row.comment.id}`;
    case "editor": return "e";
  }
}

function widest(files: readonly DiffFile[]): number {
  let most = 40;
  for (const file of files) {
    for (const hunk of file.hunks) {
      for (const { text } of hunk.lines) {
        // A tab may be as wide as four characters, a wide letter as two.
        const width = text.includes("\t") || /[^\x00-\x7f]/.test(text) ? text.length * 2 + 8 : text.length;
        if (width > most) most = width;
      }
    }
  }
  return most;
}
