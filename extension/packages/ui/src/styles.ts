/**
 * The one style sheet. Quiet, dense, typographic: hairlines instead of boxes, colour only where it says
 * something, and never colour alone. Sizes follow the console's own width, not the window's, because in a
 * notebook it is a column among others.
 */
export const STYLES = `
:host { display: block; contain: layout style; height: 100%; min-height: 0; color-scheme: light dark; }
:host([hidden]) { display: none; }
.pp {
  --ground: light-dark(#faf9f6, #121514);
  --raised: light-dark(#ffffff, #1a1e1c);
  --sunk: light-dark(#f1efe9, #0d100f);
  --ink: light-dark(#1a1f1d, #e3e7e4);
  --dim: light-dark(#58625d, #9aa59f);
  --line: light-dark(#e3e0d7, #2b312e);
  --line-strong: light-dark(#8d958f, #6b746f);
  --accent: light-dark(#14624d, #74cfb1);
  --on-accent: light-dark(#ffffff, #0c1c16);
  --accent-soft: light-dark(#e4f1ec, #16302a);
  --warn: light-dark(#875200, #e9b765);
  --warn-soft: light-dark(#fbf1dd, #2e2413);
  --bad: light-dark(#a5281f, #ff9a8f);
  --bad-soft: light-dark(#fbe9e6, #361c1a);
  --good: light-dark(#1b6b3d, #83d39d);
  --add: light-dark(#e6f5e9, #12291b);
  --add-word: light-dark(#b5e3c0, #20562f);
  --del: light-dark(#fcebe8, #33191a);
  --del-word: light-dark(#f5c3bc, #6b2a2b);
  --sans: system-ui, -apple-system, "Segoe UI", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", "DejaVu Sans Mono", monospace;
  --pad: 1rem;
  container: pp / inline-size;
  position: relative; box-sizing: border-box; height: 100%; min-height: 0; display: flex; flex-direction: column;
  background: var(--ground); color: var(--ink); font: 14px/1.5 var(--sans); text-align: start;
  -webkit-text-size-adjust: 100%; overflow-wrap: anywhere;
}
.pp[data-theme="light"] { color-scheme: light; }
.pp[data-theme="dark"] { color-scheme: dark; }
.pp[data-theme="auto"] { color-scheme: light dark; }
.pp[data-theme="host"] {
  color-scheme: inherit;
  --ground: var(--jp-layout-color1, light-dark(#ffffff, #121514));
  --raised: var(--jp-layout-color1, light-dark(#ffffff, #1a1e1c));
  --sunk: var(--jp-layout-color2, light-dark(#f1efe9, #0d100f));
  --ink: var(--jp-ui-font-color0, light-dark(#1a1f1d, #e3e7e4));
  --dim: color-mix(in srgb, var(--ink) 74%, var(--ground));
  --line: var(--jp-border-color2, light-dark(#e3e0d7, #2b312e));
  --line-strong: color-mix(in srgb, var(--ink) 52%, var(--ground));
  --sans: var(--jp-ui-font-family, system-ui, sans-serif);
  --mono: var(--jp-code-font-family, ui-monospace, monospace);
}
.pp *, .pp *::before, .pp *::after { box-sizing: border-box; }
.pp [hidden] { display: none !important; }
h1, h2, h3, h4, p, ul, ol, dl, dd, pre, blockquote, fieldset { margin: 0; padding: 0; border: 0; min-width: 0; }
ul, ol { list-style: none; }
h2 { font-size: 1.35em; line-height: 1.3; font-weight: 600; letter-spacing: -.012em; text-wrap: balance; }
h3 { font-size: 1em; font-weight: 600; }
.label { font-size: .8em; font-weight: 600; color: var(--dim); letter-spacing: .01em; }
.dim { color: var(--dim); }
.small { font-size: .88em; }
.mono, code, pre { font-family: var(--mono); font-size: .9em; font-variant-ligatures: none; }
.nums { font-variant-numeric: tabular-nums; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
mark.odd { background: var(--warn-soft); color: var(--warn); border: 1px solid currentColor; border-radius: 3px; padding: 0 .25em; font: .82em var(--mono); }
a { color: var(--accent); text-underline-offset: .15em; }

button, input, select, textarea { font: inherit; color: inherit; letter-spacing: inherit; }
button { cursor: pointer; border: 1px solid var(--line-strong); background: transparent; border-radius: 6px; padding: .3rem .7rem; min-height: 2rem; line-height: 1.2; }
button:hover:not(:disabled) { background: var(--sunk); }
button:disabled { cursor: default; color: var(--dim); border-color: var(--line); }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
button.main:hover:not(:disabled) { background: color-mix(in srgb, var(--accent) 88%, var(--ink)); }
button.main:disabled { background: var(--sunk); color: var(--dim); border-color: var(--line); }
button.no { color: var(--bad); border-color: color-mix(in srgb, var(--bad) 60%, transparent); }
button.no.solid { background: var(--bad); color: var(--ground); border-color: var(--bad); font-weight: 600; }
button.quiet { border-color: transparent; color: var(--dim); }
button.quiet:hover:not(:disabled) { color: var(--ink); }
button.link { border: 0; padding: 0; min-height: 24px; color: var(--accent); text-decoration: underline; text-underline-offset: .15em; background: none; }
button[aria-pressed="true"] { background: var(--accent-soft); border-color: var(--accent); color: var(--accent); }
input, select, textarea { width: 100%; padding: .4rem .6rem; min-height: 2.1rem; background: var(--raised); border: 1px solid var(--line-strong); border-radius: 6px; }
select { padding-inline-end: 1.4rem; text-overflow: ellipsis; }
textarea { resize: vertical; display: block; field-sizing: content; min-height: 2.6rem; max-height: 40vh; }
::placeholder { color: var(--dim); opacity: 1; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
:focus:not(:focus-visible) { outline: 0; }

/* --- frame --- */
.bar { display: flex; align-items: center; gap: .75rem; min-height: 3rem; padding: 0 var(--pad); border-bottom: 1px solid var(--line); flex: none; }
.bar .name { font-weight: 650; letter-spacing: -.01em; white-space: nowrap; }
.bar .pick { min-width: 0; flex: 0 1 15rem; }
.bar .pick select { border-color: transparent; background-color: transparent; padding-inline-start: .3rem; color: var(--dim); }
.bar .pick select:hover { border-color: var(--line-strong); }
.bar .room { flex: 1; }
.state { display: inline-flex; align-items: center; gap: .4rem; font-size: .88em; white-space: nowrap; color: var(--dim); }
.state i { width: .5rem; height: .5rem; border-radius: 50%; background: var(--good); flex: none; }
.state.catching_up i { background: transparent; border: 2px solid var(--warn); }
.state.offline { color: var(--bad); }
.state.offline i { background: transparent; border: 2px solid var(--bad); border-radius: 2px; }
.notice { padding: .5rem var(--pad); border-bottom: 1px solid var(--line); background: var(--warn-soft); font-size: .93em; flex: none; }
.body { flex: 1; min-height: 0; display: flex; }
.places { flex: none; width: 11.5rem; padding: .75rem .5rem; border-inline-end: 1px solid var(--line); display: flex; flex-direction: column; gap: 1px; overflow-y: auto; }
.places button { display: flex; align-items: center; gap: .5rem; border: 0; text-align: start; color: var(--dim); padding: .35rem .6rem; min-height: 2.1rem; border-radius: 6px; width: 100%; }
.places button[aria-current] { color: var(--ink); background: var(--sunk); font-weight: 600; }
.places svg { width: 1.15rem; height: 1.15rem; flex: none; }
.badge { margin-inline-start: auto; min-width: 1.35rem; padding: 0 .35rem; border-radius: 1rem; font-size: .8em; line-height: 1.45; text-align: center; font-variant-numeric: tabular-nums; font-weight: 600; background: var(--warn); color: var(--ground); }
.badge.plain { background: none; color: var(--dim); font-weight: 400; }
.place { flex: 1; min-width: 0; min-height: 0; display: flex; flex-direction: column; }
.scroll { flex: 1; min-height: 0; overflow-y: auto; overflow-x: hidden; overscroll-behavior: contain; scrollbar-gutter: stable; }
.column { width: 100%; max-width: 52rem; margin: 0 auto; padding: 1.25rem var(--pad) 2rem; }
.column.wide { max-width: none; }
.side { flex: none; width: 22rem; border-inline-start: 1px solid var(--line); display: none; flex-direction: column; min-height: 0; }
.empty { padding: 2.5rem 0; color: var(--dim); max-width: 34rem; }
.section .empty, h2 + .empty { padding: .25rem 0; } .section .empty strong { font-size: 1em; }
.index .empty { padding: .5rem .25rem 0; }
.empty strong { display: block; color: var(--ink); font-weight: 600; font-size: 1.1em; margin-bottom: .15rem; }
.problem { color: var(--bad); }
.section { margin-top: 1.75rem; }
.section > .label:first-child, .section > header { margin-bottom: .4rem; }
.section > header { display: flex; align-items: baseline; gap: .6rem; }
.row-actions { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
.row-actions:empty { display: none; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; }
.facts dt { color: var(--dim); }
.facts dd { white-space: pre-wrap; }

/* --- lists --- */
.list > li { border-top: 1px solid var(--line); }
.list > li:last-child { border-bottom: 1px solid var(--line); }
.item { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 .75rem; width: 100%; padding: .55rem .25rem; border: 0; border-radius: 0; text-align: start; min-height: 2.75rem; align-items: baseline; }
.item:hover:not(:disabled) { background: var(--sunk); }
.item[aria-expanded="true"], .item[aria-current="true"], .item[aria-current="true"]:hover { background: var(--accent-soft); }
.item .title { font-weight: 500; }
.item .meta { grid-column: 1 / -1; color: var(--dim); font-size: .88em; line-height: 1.4; }
.tag { font-size: .85em; white-space: nowrap; color: var(--dim); font-variant-numeric: tabular-nums; }
.tag::before { content: attr(data-sign); display: inline-block; width: 1.1em; font-family: var(--mono); }
.tag.good { color: var(--good); } .tag.bad { color: var(--bad); } .tag.warn { color: var(--warn); } .tag.on { color: var(--accent); }

/* --- approval --- */
.ask { padding-bottom: 1rem; }
.ask > header { display: grid; gap: .3rem; margin-bottom: 1rem; }
.ask .who { display: flex; flex-wrap: wrap; gap: .1rem .9rem; color: var(--dim); font-size: .9em; }
.ask blockquote { border-inline-start: 3px solid var(--line); padding: .1rem 0 .1rem .9rem; white-space: pre-wrap; color: var(--dim); }
.ask .plain { max-width: 60ch; }
.ask .action { background: var(--sunk); border-radius: 6px; padding: .7rem .9rem; }
.ask .action dt { font-family: var(--sans); font-size: .9em; }
.risk b { font-weight: 650; }
.risk.high b { color: var(--bad); } .risk.medium b { color: var(--warn); } .risk.low b { color: var(--good); }
.decide { position: sticky; bottom: 0; background: var(--ground); border-top: 1px solid var(--line); margin: 1.25rem 0 0; padding: .8rem 0; display: grid; gap: .6rem; z-index: 2; }
.decide .row-actions button { min-height: 2.5rem; }
.decide .main { flex: 0 1 auto; }

/* --- chat --- */
.talk { display: grid; gap: .2rem; }
.said { padding: .55rem 0 .35rem; }
.said .by { display: flex; flex-wrap: wrap; gap: .1rem .6rem; align-items: baseline; font-size: .88em; color: var(--dim); }
.said .by b { color: var(--ink); font-weight: 600; font-size: 1.06em; }
.said.person { border-inline-start: 3px solid var(--accent); padding-inline-start: .8rem; margin-inline-start: -.95rem; }
.said.pending { border-inline-start-style: dashed; }
.said .words { white-space: pre-wrap; max-width: 72ch; }
.step { display: grid; grid-template-columns: 2.9rem minmax(0, 1fr); gap: .5rem; color: var(--dim); font-size: .9em; padding: .05rem 0; }
.step.bad span:last-child { color: var(--bad); } .step.good span:last-child { color: var(--good); } .step.warn span:last-child { color: var(--warn); }
.composer { flex: none; overflow: hidden; scrollbar-gutter: stable; border-top: 1px solid var(--line); background: var(--ground); }
.composer form { max-width: 52rem; margin: 0 auto; padding: .7rem var(--pad); display: grid; gap: .5rem; grid-template-columns: minmax(0, 1fr) auto; align-items: end; }
.composer .under { grid-column: 1 / -1; display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .9rem; font-size: .88em; color: var(--dim); min-height: 1.5rem; }
.composer .under label { display: inline-flex; align-items: center; gap: .4rem; }
.composer .under select { width: auto; min-height: 1.6rem; padding: .1rem 1.2rem .1rem .3rem; border-color: var(--line); }
.composer .main { min-height: 2.6rem; }
.md { white-space: normal; max-width: 72ch; }
.md > * + * { margin-top: .6em; }
.md ul, .md ol { padding-inline-start: 1.4em; list-style: revert; }
.md pre { background: var(--sunk); padding: .6rem .8rem; border-radius: 6px; overflow-x: auto; white-space: pre; }
.md code { background: var(--sunk); border-radius: 3px; padding: .05em .3em; }
.md pre code { padding: 0; background: none; }
.md table { border-collapse: collapse; } .md th, .md td { border: 1px solid var(--line); padding: .2em .5em; text-align: start; }
.md blockquote { border-inline-start: 3px solid var(--line); padding-inline-start: .8rem; color: var(--dim); }

/* --- two panes --- */
.panes { flex: 1; min-height: 0; display: flex; }
.panes > .index { flex: 0 0 21rem; min-width: 0; border-inline-end: 1px solid var(--line); overflow-y: auto; padding: 1rem var(--pad); overscroll-behavior: contain; }
.panes > .detail { flex: 1; min-width: 0; min-height: 0; display: flex; flex-direction: column; }
.detail > .scroll > .column { max-width: 60rem; margin: 0; }
.backbar { display: none; padding: .35rem var(--pad); border-bottom: 1px solid var(--line); flex: none; }

/* --- virtual --- */
.virtual { overflow: auto; position: relative; overscroll-behavior: contain; }
.virtual > .inner { position: relative; }
.virtual .slot { position: absolute; inset-inline: 0; }

/* --- log --- */
.log { border: 1px solid var(--line); border-radius: 6px; background: var(--sunk); overflow: hidden; display: flex; flex-direction: column; }
.log > header { display: flex; gap: .75rem; align-items: center; padding: .15rem .3rem .15rem .75rem; border-bottom: 1px solid var(--line); font-size: .88em; color: var(--dim); }
.log > header button { margin-inline-start: auto; min-height: 1.7rem; padding: .1rem .5rem; }
.log .virtual { max-height: min(24rem, 50vh); overscroll-behavior: auto; font: 12px/18px var(--mono); padding: .25rem 0; }
.log .slot { white-space: pre; padding: 0 .75rem; height: 18px; overflow-wrap: normal; }
.log .slot.stderr { border-inline-start: 2px solid var(--warn); padding-inline-start: calc(.75rem - 2px); }
.ansi-bold { font-weight: 700; } .ansi-dim { opacity: .8; } .ansi-italic { font-style: italic; } .ansi-underline { text-decoration: underline; }
.ansi-red, .ansi-bright-red { color: var(--bad); } .ansi-green, .ansi-bright-green { color: var(--good); }
.ansi-yellow, .ansi-bright-yellow { color: var(--warn); } .ansi-blue, .ansi-bright-blue { color: light-dark(#1d55a5, #8fbcff); }
.ansi-magenta, .ansi-bright-magenta { color: light-dark(#86308c, #e39be8); } .ansi-cyan, .ansi-bright-cyan { color: light-dark(#0b6370, #79d3e0); }
.ansi-black, .ansi-bright-black, .ansi-white { color: var(--dim); }

/* --- diff --- */
.review { flex: 1; min-height: 0; display: flex; flex-direction: column; }
.review > .top { padding: .9rem var(--pad) .6rem; border-bottom: 1px solid var(--line); display: grid; gap: .35rem; flex: none; max-height: 45%; overflow-y: auto; }
.review .tools { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; }
.review .tools .room { flex: 1; }
.segments { display: inline-flex; border: 1px solid var(--line-strong); border-radius: 6px; overflow: hidden; }
.segments button { border: 0; border-radius: 0; min-height: 1.8rem; padding: .15rem .6rem; }
.segments button:focus-visible { outline-offset: -2px; }
.filepick { flex: 0 1 22rem; min-width: 8rem; }
.filepick select { min-height: 1.9rem; padding-block: .15rem; }
.difftable { flex: 1; min-height: 0; font: 12.5px/20px var(--mono); tab-size: 4; background: var(--raised); }
.framed .difftable { max-height: min(34rem, 62vh); overscroll-behavior: auto; border: 1px solid var(--line); border-radius: 6px; }
.dl { display: grid; grid-template-columns: 3.6em 3.6em 1.4em minmax(0, 1fr); height: 20px; white-space: pre; overflow-wrap: normal; }
.dl code { font: inherit; }
.dl.add { background: var(--add); } .dl.del { background: var(--del); }
.dl .n { color: var(--dim); text-align: end; padding-inline-end: .6em; font-variant-numeric: tabular-nums; user-select: none; }
.dl button.n { all: unset; box-sizing: border-box; color: var(--dim); text-align: end; padding-inline-end: .6em; cursor: pointer; height: 20px; }
.dl button.n:hover { color: var(--ink); background: color-mix(in srgb, var(--accent) 18%, transparent); }
.dl button.n:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.dl .s { color: var(--dim); text-align: center; user-select: none; }
.dl.add .s { color: var(--good); } .dl.del .s { color: var(--bad); }
.dl .changed { border-radius: 2px; }
.dl.add .changed, .add .changed { background: var(--add-word); } .dl.del .changed, .del .changed { background: var(--del-word); }
.dl.two { grid-template-columns: 3.6em 1.4em minmax(0, 1fr) 3.6em 1.4em minmax(0, 1fr); }
.dl.two > .cell { display: contents; }
.dl.two .c { overflow: hidden; } .dl.two .add { background: var(--add); } .dl.two .del { background: var(--del); } .dl.two .none { background: var(--sunk); }
.fh { display: flex; align-items: center; gap: .7rem; height: 40px; padding: 0 .75rem; background: var(--ground); border-block: 1px solid var(--line); font-family: var(--sans); font-size: 13px; white-space: nowrap; position: sticky; left: 0; width: var(--seen, 100%); overflow: hidden; }
.fh .path { font-family: var(--mono); font-size: 12.5px; font-weight: 600; overflow: hidden; text-overflow: ellipsis; min-width: 0; direction: rtl; text-align: left; unicode-bidi: plaintext; }
.fh .room { flex: 1; } .fh button, .hh button { min-height: 24px; padding: .05rem .5rem; font: 12px var(--sans); flex: none; }
.fh.rejected .path, .hh.rejected > span { text-decoration: line-through; }
.hh { display: flex; align-items: center; gap: .7rem; height: 30px; padding: 0 .75rem; color: var(--dim); background: var(--sunk); position: sticky; left: 0; width: var(--seen, 100%); overflow: hidden; }
.hh > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; flex: 1; min-width: 0; }
.dnote { padding: 0 .75rem; color: var(--dim); height: 24px; font-family: var(--sans); position: sticky; left: 0; width: var(--seen, 100%); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.plusminus { font: 12px var(--mono); flex: none; } .plusminus b { font-weight: 500; color: var(--good); } .plusminus i { font-style: normal; color: var(--bad); }
.cmt { font: 14px/1.45 var(--sans); padding: .5rem .75rem .6rem 2.5rem; background: var(--ground); border-block: 1px solid var(--line); position: sticky; left: 0; width: var(--seen, 100%); white-space: pre-wrap; display: grid; gap: .4rem; }
.cmt .row-actions { font-size: .88em; }
.sendbar { flex: none; border-top: 1px solid var(--line); padding: .6rem var(--pad); display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; background: var(--ground); }

/* --- timeline --- */
.tl { display: grid; grid-template-columns: 4.5em 4.5em 9.5rem minmax(0, 1fr); gap: 0 .75rem; height: 26px; line-height: 26px; padding: 0 var(--pad); font-size: 13px; white-space: nowrap; }
.tl > * { overflow: hidden; text-overflow: ellipsis; }
.fill { flex: 1; min-height: 0; }
.tl button { all: unset; cursor: pointer; color: var(--dim); text-align: end; font-variant-numeric: tabular-nums; }
.tl button:hover { color: var(--accent); text-decoration: underline; } .tl button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.machine { border-bottom: 1px solid var(--line); padding: .8rem var(--pad); display: grid; gap: .5rem; flex: none; }
.machine .row { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; }
.machine .row > label { flex: 0 1 9rem; } .machine .row > label.grow { flex: 1 1 14rem; }
.machine input[type="range"] { padding: 0; border: 0; accent-color: var(--accent); min-height: 1.5rem; background: none; }

/* --- phone --- */
@container pp (max-width: 720px) {
  .bar .name { display: none; }
  .bar { gap: .5rem; }
  .body { flex-direction: column-reverse; }
  .places { width: auto; flex-direction: row; border: 0; border-top: 1px solid var(--line); padding: .25rem max(.25rem, env(safe-area-inset-left)) max(.25rem, env(safe-area-inset-bottom)); gap: 0; }
  .places button { flex: 1 1 0; min-width: 0; flex-direction: column; gap: .05rem; padding: .3rem 0; font-size: 10.5px; white-space: nowrap; min-height: 3rem; position: relative; justify-content: center; }
  .places button[aria-current] { background: none; color: var(--accent); }
  .places .badge { position: absolute; top: .1rem; inset-inline-start: 55%; margin: 0; font-size: 10px; min-width: 1.1rem; padding: 0 .25rem; }
  .places .badge.plain { display: none; }
  .panes { flex-direction: column; }
  .panes > .index { flex: 1; border: 0; }
  .panes.picked > .index { display: none; }
  .panes:not(.picked) > .detail { display: none; }
  .panes.picked > .detail > .backbar { display: block; }
  .column { padding-top: 1rem; }
  input, select, textarea { font-size: 16px; }
  button { min-height: 2.5rem; }
  .fh button, .hh button, .log > header button { min-height: 26px; }
  .dl { grid-template-columns: 0 3.2em 1.2em minmax(0, 1fr); } .dl.del { grid-template-columns: 3.2em 0 1.2em minmax(0, 1fr); }
  .dl:not(.del) .n:first-child, .dl.del .n:nth-child(2) { visibility: hidden; overflow: hidden; }
  .tl { grid-template-columns: 3.6em minmax(0, 1fr); } .tl .time, .tl .from { display: none; }
  .facts { grid-template-columns: 6.2rem minmax(0, 1fr); gap: .15rem .6rem; }
  .action .facts { grid-template-columns: minmax(0, 1fr); gap: 0; } .action .facts dt { font-size: .88em; } .action .facts dd + dt { margin-top: .35rem; }
  .said.person { margin-inline-start: -.6rem; padding-inline-start: .5rem; }
  .ask .main, .ask .no { flex: 1 1 auto; }
  .wideonly { display: none !important; }
}
@container pp (min-width: 721px) and (max-width: 1000px) {
  .places { width: 3.4rem; } .places button { justify-content: center; padding: .35rem 0; position: relative; }
  .places button .text { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .places .badge { position: absolute; top: 0; inset-inline-end: 0; font-size: 10px; } .places .badge.plain { display: none; }
  .panes > .index { flex-basis: 16rem; }
}
@container pp (min-width: 1180px) { .side { display: flex; } .side.off { display: none; } }
@media (prefers-reduced-motion: no-preference) { .state.catching_up i { animation: pp-pulse 1.2s infinite alternate; } }
@keyframes pp-pulse { to { opacity: .3; } }
@media (forced-colors: active) { .tag::before, .badge { forced-color-adjust: none; } }
`;
