/**
 * Git's unified diffs, taken apart: files, hunks, lines, words. Text in, data out; nothing is rendered.
 *
 * Everything git can say about a file is kept: renames and copies, mode changes, links, submodules, binary
 * files without content. What is not understood stays in `notes`, so that nothing is hidden.
 */

export type FileStatus = "added" | "modified" | "deleted" | "renamed" | "copied" | "mode";
export type LineKind = " " | "+" | "-";

export interface DiffLine {
  readonly kind: LineKind;
  readonly text: string;
  /** Line numbers, from 1; `null` on the side where the line is not. */
  readonly old: number | null;
  readonly new: number | null;
  /** The file ends after this line without a line break. */
  readonly unterminated: boolean;
}

export interface Hunk {
  /** What git wrote after the second `@@`. */
  readonly section: string;
  readonly header: string;
  readonly lines: readonly DiffLine[];
}

export interface DiffFile {
  readonly path: string;
  readonly oldPath: string;
  readonly status: FileStatus;
  readonly oldMode: string | null;
  readonly newMode: string | null;
  readonly binary: boolean;
  readonly added: number;
  readonly deleted: number;
  readonly hunks: readonly Hunk[];
  readonly notes: readonly string[];
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/;

/** All files of a diff, in its order. */
export function parseDiff(text: string): DiffFile[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const files: DiffFile[] = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at]!.startsWith("diff --git ")) {
      at += 1;
      continue;
    }
    const made = readFile(lines, at);
    files.push(made.file);
    at = made.next;
  }
  return files;
}

function readFile(lines: readonly string[], start: number): { file: DiffFile; next: number } {
  const named = header(lines[start]!);
  const file = {
    path: named[1], oldPath: named[0], status: "modified" as FileStatus, oldMode: null as string | null,
    newMode: null as string | null, binary: false, added: 0, deleted: 0, hunks: [] as Hunk[], notes: [] as string[],
  };
  let at = start + 1;
  for (; at < lines.length; at += 1) {
    const line = lines[at]!;
    if (line.startsWith("diff --git ") || line.startsWith("@@ ")) break;
    const after = (prefix: string): string => line.slice(prefix.length);
    if (line.startsWith("old mode ")) file.oldMode = after("old mode ");
    else if (line.startsWith("new mode ")) file.newMode = after("new mode ");
    else if (line.startsWith("new file mode ")) [file.status, file.newMode] = ["added", after("new file mode ")];
    else if (line.startsWith("deleted file mode ")) [file.status, file.oldMode] = ["deleted", after("deleted file mode ")];
    else if (line.startsWith("rename from ")) [file.status, file.oldPath] = ["renamed", unquote(after("rename from "))];
    else if (line.startsWith("rename to ")) file.path = unquote(after("rename to "));
    else if (line.startsWith("copy from ")) [file.status, file.oldPath] = ["copied", unquote(after("copy from "))];
    else if (line.startsWith("copy to ")) file.path = unquote(after("copy to "));
    else if (line.startsWith("--- ")) file.oldPath = side(after("--- ")) ?? file.oldPath;
    else if (line.startsWith("+++ ")) file.path = side(after("+++ ")) ?? file.path;
    else if (line.startsWith("Binary files ")) file.binary = true;
    else if (line === "GIT binary patch") file.binary = true;
    else if (!/^(index |similarity index |dissimilarity index )/.test(line) && !file.binary && line !== "") {
      file.notes.push(line);
    }
  }
  while (at < lines.length && lines[at]!.startsWith("@@ ")) {
    const read = readHunk(lines, at);
    if (read === null) {
      file.notes.push(lines[at]!);
      at += 1;
      continue;
    }
    file.hunks.push(read.hunk);
    for (const line of read.hunk.lines) {
      if (line.kind === "+") file.added += 1;
      if (line.kind === "-") file.deleted += 1;
    }
    at = read.next;
  }
  if (file.status === "modified" && file.hunks.length === 0 && !file.binary && file.oldMode !== null) file.status = "mode";
  return { file, next: at };
}

function readHunk(lines: readonly string[], start: number): { hunk: Hunk; next: number } | null {
  const found = HUNK.exec(lines[start]!);
  if (found === null) return null;
  let [old, fresh] = [Number(found[1]), Number(found[3])];
  let [oldLeft, newLeft] = [Number(found[2] ?? "1"), Number(found[4] ?? "1")];
  const made: DiffLine[] = [];
  let at = start + 1;
  for (; at < lines.length; at += 1) {
    const line = lines[at]!;
    const kind = line[0] ?? " ";
    if (kind === "\\") {
      const before = made.pop();
      if (before) made.push({ ...before, unterminated: true });
      continue;
    }
    if (oldLeft <= 0 && newLeft <= 0) break;
    if (kind !== " " && kind !== "+" && kind !== "-") break;
    const text = line.slice(1);
    if (kind === " ") {
      made.push({ kind, text, old: old++, new: fresh++, unterminated: false });
      oldLeft -= 1;
      newLeft -= 1;
    } else if (kind === "-") {
      made.push({ kind, text, old: old++, new: null, unterminated: false });
      oldLeft -= 1;
    } else {
      made.push({ kind, text, old: null, new: fresh++, unterminated: false });
      newLeft -= 1;
    }
  }
  return { hunk: { section: found[5] ?? "", header: lines[start]!, lines: made }, next: at };
}

/** The two names of `diff --git a/x b/y`. Only used where no later line names the file. */
function header(line: string): [string, string] {
  const rest = line.slice("diff --git ".length);
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|.+)$/.exec(rest);
  const half = rest.length >> 1;
  // Unquoted names may hold spaces; then both are the same and the line is symmetrical.
  if (!rest.startsWith('"') && rest[half] === " " && rest.slice(2, half) === rest.slice(half + 3)) {
    return [rest.slice(2, half), rest.slice(half + 3)];
  }
  const [old, fresh] = [quoted?.[1] ?? rest, quoted?.[2] ?? rest];
  return [side(old) ?? old, side(fresh) ?? fresh];
}

function side(name: string): string | null {
  const plain = unquote(name.endsWith("\t") ? name.slice(0, -1) : name);
  return plain === "/dev/null" ? null : plain.replace(/^[ab]\//, "");
}

const ESCAPES: Readonly<Record<string, number>> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, "\\": 92 };

/** A path as git quotes it: C escapes, octal bytes of UTF-8. */
export function unquote(name: string): string {
  if (!/^".*"$/s.test(name)) return name;
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  const inner = name.slice(1, -1);
  for (let at = 0; at < inner.length; at += 1) {
    const octal = /^\\([0-7]{3})/.exec(inner.slice(at, at + 4));
    const escape = inner[at] === "\\" ? ESCAPES[inner[at + 1] ?? ""] : undefined;
    if (octal) {
      bytes.push(parseInt(octal[1]!, 8));
      at += 3;
    } else if (escape !== undefined) {
      bytes.push(escape);
      at += 1;
    } else {
      const char = String.fromCodePoint(inner.codePointAt(at)!);
      bytes.push(...encoder.encode(char));
      at += char.length - 1;
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

// --- words ----------------------------------------------------------------------------------------------

/** Part of a line; `changed` where it differs from its partner. */
export interface Word {
  readonly text: string;
  readonly changed: boolean;
}

const MOST_WORDS = 200;

/** For removed and added lines that stand against each other: which words differ. Keyed by line index. */
export function pairs(lines: readonly DiffLine[]): Map<number, number> {
  const found = new Map<number, number>();
  let at = 0;
  while (at < lines.length) {
    if (lines[at]!.kind !== "-") {
      at += 1;
      continue;
    }
    const removed = at;
    while (lines[at]?.kind === "-") at += 1;
    const added = at;
    while (lines[at]?.kind === "+") at += 1;
    const count = Math.min(added - removed, at - added);
    for (let index = 0; index < count; index += 1) {
      found.set(removed + index, added + index);
      found.set(added + index, removed + index);
    }
  }
  return found;
}

/** `before` as words, marked where `after` has something else. Lines with nothing in common stay unmarked. */
export function words(before: string, after: string): [Word[], Word[]] {
  const [one, two] = [tokens(before), tokens(after)];
  if (one.length > MOST_WORDS || two.length > MOST_WORDS) return [whole(before), whole(after)];
  const table = common(one, two);
  const [left, right]: [Word[], Word[]] = [[], []];
  let [i, j, same] = [0, 0, 0];
  while (i < one.length || j < two.length) {
    if (i < one.length && j < two.length && one[i] === two[j]) {
      push(left, one[i]!, false);
      push(right, two[j]!, false);
      if (one[i]!.trim() !== "") same += one[i]!.length;
      i += 1;
      j += 1;
    } else if (j >= two.length || (i < one.length && table[i + 1]![j]! >= table[i]![j + 1]!)) {
      push(left, one[i++]!, true);
    } else {
      push(right, two[j++]!, true);
    }
  }
  // A line that shares next to nothing with the other is a new line, and marks would only be noise.
  const longest = Math.max(before.trim().length, after.trim().length);
  return same * 4 < longest ? [whole(before), whole(after)] : [left, right];
}

const whole = (text: string): Word[] => (text === "" ? [] : [{ text, changed: false }]);
const tokens = (text: string): string[] => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];

function push(made: Word[], text: string, changed: boolean): void {
  const before = made.at(-1);
  if (before && before.changed === changed) made[made.length - 1] = { text: before.text + text, changed };
  else made.push({ text, changed });
}

function common(one: readonly string[], two: readonly string[]): number[][] {
  const table = Array.from({ length: one.length + 1 }, () => new Array<number>(two.length + 1).fill(0));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = two.length - 1; j >= 0; j -= 1) {
      table[i]![j] = one[i] === two[j] ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
    }
  }
  return table;
}
