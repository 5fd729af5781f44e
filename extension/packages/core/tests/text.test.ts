import { describe, expect, test } from "vitest";
import { anchor, ansi, byRisk, keep, hunkKey, pairs, parseDiff, pieces, unquote, visible, words } from "../src/index.js";

describe("what cannot be seen is spelled out", () => {
  test.each([
    ["plain text", "plain text"],
    ["a\u202eb", "a<U+202E>b"],
    ["zero\u200bwidth", "zero<U+200B>width"],
    ["bell\u0007", "bell<U+0007>"],
    ["line\nbreak\ttab", "line\nbreak\ttab"],
    ["family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"],
    ["joined\u200dletters", "joined<U+200D>letters"],
    ["\ud800", "<U+D800>"],
    ["tag\u{e0041}", "tag<U+E0041>"],
  ])("%j", (text, shown) => expect(visible(text)).toBe(shown));

  test("pieces keep their order", () => {
    expect(pieces("a\u202eb")).toEqual([
      { text: "a", odd: false }, { text: "U+202E", odd: true }, { text: "b", odd: false },
    ]);
  });
});

describe("of a terminal's language only colours are left", () => {
  test.each<[string, [string, string][]]>([
    ["plain", [["plain", ""]]],
    ["\x1b[31mred\x1b[0m not", [["red", "red"], [" not", ""]]],
    ["\x1b[1;92mok\x1b[22m ok", [["ok", "bold bright-green"], [" ok", "bright-green"]]],
    ["\x1b[38;5;9mred", [["red", "bright-red"]]],
    ["\x1b[38;2;1;2;3mtrue", [["true", ""]]],
    ["\x1b[2Kcleared\x1b[1A", [["cleared", ""]]],
    ["\x1b]8;;http://x\x07link\x1b]8;;\x07", [["link", ""]]],
    ["\x1b]52;c;aGk=\x07gone", [["gone", ""]]],
    ["\x1b[8mhidden\x1b[0m", [["hidden", ""]]],
    ["\x1b[30;40mink", [["ink", "black"]]],
    ["cut\x1b[3", [["cut", ""]]],
  ])("%j", (line, spans) => expect(ansi(line).map(({ text, style }) => [text, style])).toEqual(spans));
});

const DIFF = `diff --git a/one.py b/one.py
index 1..2 100644
--- a/one.py
+++ b/one.py
@@ -1,3 +1,3 @@ def f():
 a
-b = 1
+b = 2
 c
@@ -10 +10,2 @@
 x
+y
\\ No newline at end of file
diff --git a/old name b/new name
similarity index 90%
rename from old name
rename to new name
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/l b/l
new file mode 120000
--- /dev/null
+++ b/l
@@ -0,0 +1 @@
+/etc/passwd
\\ No newline at end of file
diff --git a/p.png b/p.png
Binary files a/p.png and b/p.png differ
diff --git "a/\\303\\244.txt" "b/\\303\\244.txt"
deleted file mode 100644
--- "a/\\303\\244.txt"
+++ /dev/null
@@ -1 +0,0 @@
---- not a header
`;

describe("a diff", () => {
  const files = parseDiff(DIFF);

  test("is taken apart with everything git says", () => {
    expect(files.map(({ path, oldPath, status, binary, added, deleted, newMode }) => [path, oldPath, status, binary, added, deleted, newMode])).toEqual([
      ["one.py", "one.py", "modified", false, 2, 1, null],
      ["new name", "old name", "renamed", false, 0, 0, null],
      ["run.sh", "run.sh", "mode", false, 0, 0, "100755"],
      ["l", "l", "added", false, 1, 0, "120000"],
      ["p.png", "p.png", "modified", true, 0, 0, null],
      ["ä.txt", "ä.txt", "deleted", false, 0, 1, null],
    ]);
    expect(files[0]!.hunks.map(({ section, lines }) => [section, lines.map((line) => [line.kind, line.old, line.new])])).toEqual([
      ["def f():", [[" ", 1, 1], ["-", 2, null], ["+", null, 2], [" ", 3, 3]]],
      ["", [[" ", 10, 10], ["+", null, 11]]],
    ]);
    expect(files[0]!.hunks[1]!.lines[1]!.unterminated).toBe(true);
  });

  test("a removed line that looks like a header is a line", () => {
    expect(files[5]!.hunks[0]!.lines).toMatchObject([{ kind: "-", text: "--- not a header" }]);
  });

  test("is read with the most careful files first", () => {
    const changes = [{ path: "p.png", status: "M", protected: true }];
    expect(byRisk(files, changes).map(({ path }) => path)).toEqual(["p.png", "l", "run.sh", "ä.txt", "one.py", "new name"]);
  });

  test("without a rejected part is still a diff of the rest", () => {
    const [one] = files;
    const rest = keep(files, new Set([hunkKey(one!, one!.hunks[0]!), "new name", "l", "ä.txt"]));
    expect(rest).toBe(
      "diff --git a/one.py b/one.py\n--- a/one.py\n+++ b/one.py\n@@ -10 +10,2 @@\n x\n+y\n\\ No newline at end of file\n" +
        "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n",
    );
    expect(keep(files, new Set(files.map(({ path }) => path)))).toBe("");
  });

  test("words that differ are marked; lines that share nothing are not", () => {
    const { lines } = files[0]!.hunks[0]!;
    expect([...pairs(lines)]).toEqual([[1, 2], [2, 1]]);
    expect(words("b = 1", "b = 2")[1]).toEqual([{ text: "b = ", changed: false }, { text: "2", changed: true }]);
    expect(words("alpha", "omega")[0]).toEqual([{ text: "alpha", changed: false }]);
  });

  test("a comment is where its line is, or says that it is gone", () => {
    const comment = { id: "1", path: "one.py", side: "new" as const, line: 2, snippet: "b = 2", text: "?", commit: "c" };
    expect(anchor(comment, files[0])).toEqual({ state: "here", line: 2 });
    expect(anchor({ ...comment, line: 7 }, files[0])).toEqual({ state: "moved", line: 2 });
    expect(anchor({ ...comment, snippet: "b = 3" }, files[0])).toEqual({ state: "stale" });
    expect(anchor(comment, undefined)).toEqual({ state: "stale" });
  });

  test("paths are unquoted as git quotes them", () => {
    expect(unquote('"a\\tb\\"c\\\\ \\303\\244"')).toBe('a\tb"c\\ ä');
    expect(unquote("plain")).toBe("plain");
  });
});
