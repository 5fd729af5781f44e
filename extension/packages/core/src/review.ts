/**
 * A person's reading of a change: comments on lines, parts taken or left. Data only.
 *
 * A comment remembers the text of its line. Against a newer diff it stays where that text still is, moves
 * with it when it is elsewhere in the file, and is stale when it is gone: never silently on another line.
 */
import type { DiffFile, DiffLine, Hunk } from "./diff.js";
import type { FileChange } from "./protocol.gen.js";

export type Side = "old" | "new";

export interface Comment {
  readonly id: string;
  readonly path: string;
  readonly side: Side;
  readonly line: number;
  /** The text of the line when it was written. */
  readonly snippet: string;
  readonly text: string;
  /** The commit that was read. */
  readonly commit: string;
}

/** Rejected parts: `path` for a whole file, `path\n@@ …` for a hunk. What is not named is accepted. */
export type Rejections = ReadonlySet<string>;

export const hunkKey = (file: DiffFile, hunk: Hunk): string => `${file.path}\n${hunk.header}`;

export type Anchor = { readonly state: "here" | "moved"; readonly line: number } | { readonly state: "stale" };

export function anchor(comment: Comment, file: DiffFile | undefined): Anchor {
  if (file === undefined) return { state: "stale" };
  let nearest: number | null = null;
  for (const line of lines(file)) {
    const number = comment.side === "new" ? line.new : line.old;
    if (number === null || line.text !== comment.snippet) continue;
    if (number === comment.line) return { state: "here", line: number };
    if (nearest === null || Math.abs(number - comment.line) < Math.abs(nearest - comment.line)) nearest = number;
  }
  return nearest === null ? { state: "stale" } : { state: "moved", line: nearest };
}

function* lines(file: DiffFile): Generator<DiffLine> {
  for (const hunk of file.hunks) yield* hunk.lines;
}

/** How carefully a file should be read; higher comes first. */
export function fileRisk(file: DiffFile, isProtected: boolean): number {
  let risk = 0;
  if (isProtected) risk += 1_000;
  if (file.newMode === "120000" || file.newMode === "160000") risk += 400;
  if (executable(file)) risk += 300;
  if (file.binary) risk += 200;
  if (file.status === "deleted") risk += 100;
  return risk;
}

export const executable = (file: DiffFile): boolean =>
  file.newMode?.endsWith("755") === true && file.oldMode?.endsWith("755") !== true;

/** Files with the most careful first, otherwise in the order of the diff. */
export function byRisk(files: readonly DiffFile[], changes: readonly FileChange[]): DiffFile[] {
  const guarded = new Set(changes.filter((change) => change.protected).map((change) => change.path));
  return files
    .map((file, index) => ({ file, index, risk: fileRisk(file, guarded.has(file.path)) }))
    .sort((a, b) => b.risk - a.risk || a.index - b.index)
    .map(({ file }) => file);
}

/** The diff without the rejected parts; empty when nothing is left. `git apply` recounts hunk headers. */
export function keep(files: readonly DiffFile[], rejected: Rejections): string {
  const parts: string[] = [];
  for (const file of files) {
    if (rejected.has(file.path)) continue;
    const hunks = file.hunks.filter((hunk) => !rejected.has(hunkKey(file, hunk)));
    if (file.binary || (hunks.length === 0 && file.hunks.length > 0)) continue;
    parts.push(...head(file));
    for (const hunk of hunks) {
      parts.push(hunk.header);
      for (const line of hunk.lines) {
        parts.push(line.kind + line.text);
        if (line.unterminated) parts.push("\\ No newline at end of file");
      }
    }
  }
  return parts.length > 0 ? `${parts.join("\n")}\n` : "";
}

function head(file: DiffFile): string[] {
  const made = [`diff --git a/${file.oldPath} b/${file.path}`];
  if (file.status === "added") made.push(`new file mode ${file.newMode ?? "100644"}`);
  else if (file.status === "deleted") made.push(`deleted file mode ${file.oldMode ?? "100644"}`);
  else if (file.oldMode && file.newMode) made.push(`old mode ${file.oldMode}`, `new mode ${file.newMode}`);
  if (file.status === "renamed") made.push(`rename from ${file.oldPath}`, `rename to ${file.path}`);
  if (file.status === "copied") made.push(`copy from ${file.oldPath}`, `copy to ${file.path}`);
  if (file.hunks.length > 0) {
    made.push(`--- ${file.status === "added" ? "/dev/null" : `a/${file.oldPath}`}`);
    made.push(`+++ ${file.status === "deleted" ? "/dev/null" : `b/${file.path}`}`);
  }
  return made;
}
