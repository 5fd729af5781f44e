/**
 * Text from agents, commands and repositories, taken apart so that what is shown is what is there.
 *
 * `pieces` marks characters that are invisible, reorder text or draw nothing; a viewer writes them as
 * `U+202E`. `ansi` keeps colours and weight and drops the rest of a terminal's language: cursor moves,
 * titles, links, clipboard writes, concealed text, backgrounds. Both are the browser's side of
 * `pushpals/policy/display.py`.
 */

export interface Piece {
  readonly text: string;
  /** The character's code point if it would not be seen, e.g. `U+202E`. */
  readonly odd: boolean;
}

const ODD =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0e]/u;
const ODDS = new RegExp(ODD.source, "gu");
const JOINED = /(\p{Extended_Pictographic}|\ufe0f)\u200d$/u;

/** `text` cut where a character cannot be seen. Line breaks and tabs are plain text. */
export function pieces(text: string): Piece[] {
  if (!ODD.test(text)) return text === "" ? [] : [{ text, odd: false }];
  const found: Piece[] = [];
  let plain = 0;
  for (const match of text.matchAll(ODDS)) {
    const [char, at] = [match[0], match.index];
    if (char === "\n" || char === "\t" || joins(text, at, char)) continue;
    if (at > plain) found.push({ text: text.slice(plain, at), odd: false });
    found.push({ text: codePoint(char), odd: true });
    plain = at + char.length;
  }
  if (plain < text.length) found.push({ text: text.slice(plain), odd: false });
  return found;
}

/** `text` as one string, with what cannot be seen written as `<U+202E>`. */
export const visible = (text: string): string =>
  pieces(text).map((piece) => (piece.odd ? `<${piece.text}>` : piece.text)).join("");

const codePoint = (char: string): string =>
  `U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;

/** Joiners are how emoji families are written; elsewhere they only hide. */
function joins(text: string, at: number, char: string): boolean {
  if (char !== "\u200d") return false;
  return JOINED.test(text.slice(Math.max(0, at - 3), at + 1)) && /^\p{Extended_Pictographic}/u.test(text.slice(at + 1, at + 3));
}

export interface Span {
  readonly text: string;
  /** Class names: `red`, `bright-blue`, `bold`, `dim`, `italic`, `underline`. Empty for plain text. */
  readonly style: string;
}

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const TERMINAL =
  // eslint-disable-next-line no-control-regex
  /(?:\x1b\[|\x9b)([0-?]{0,256})[ -/]{0,16}([@-~])|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,8192}(?:\x07|\x1b\\|\x9c|$)|(?:\x1b\[|\x9b)[0-?]{0,256}[ -/]{0,16}|\x1b[ -/]{0,16}[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** One line of output as styled spans. A carriage return in it is a line break that the hub kept. */
export function ansi(line: string): Span[] {
  if (!/[\x00-\x1f\x7f-\x9f]/.test(line)) return line === "" ? [] : [{ text: line, style: "" }];
  const spans: Span[] = [];
  let style = new Map<string, string>();
  let from = 0;
  const add = (text: string): void => {
    if (text !== "") spans.push({ text, style: [...style.values()].filter(Boolean).join(" ") });
  };
  for (const match of line.matchAll(TERMINAL)) {
    if (match[0] === "\t") continue;
    add(line.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") style = graphics(style, match[1] ?? "");
  }
  add(line.slice(from));
  return spans;
}

function graphics(style: ReadonlyMap<string, string>, params: string): Map<string, string> {
  const made = new Map(style);
  const numbers = params.split(/[;:]/).map((part) => Number(part || "0"));
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at]!;
    if (code === 0) made.clear();
    else if (code === 1) made.set("weight", "bold");
    else if (code === 2) made.set("weight", "dim");
    else if (code === 22) made.delete("weight");
    else if (code === 3) made.set("slant", "italic");
    else if (code === 23) made.delete("slant");
    else if (code === 4) made.set("line", "underline");
    else if (code === 24) made.delete("line");
    else if (code >= 30 && code <= 37) made.set("colour", COLOURS[code - 30]!);
    else if (code >= 90 && code <= 97) made.set("colour", `bright-${COLOURS[code - 90]!}`);
    else if (code === 39) made.delete("colour");
    else if (code === 38 || code === 48) {
      const [mode, index] = [numbers[at + 1], numbers[at + 2]];
      if (code === 38 && mode === 5 && index !== undefined && index < 16) {
        made.set("colour", `${index > 7 ? "bright-" : ""}${COLOURS[index % 8]!}`);
      }
      at += mode === 5 ? 2 : mode === 2 ? 4 : numbers.length;
    }
  }
  return made;
}
