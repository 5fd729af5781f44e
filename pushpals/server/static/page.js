// The status page: what the team says, what waits for you, what runs, what lands.
// Everything that came from elsewhere is shown as text, never as markup.

const $ = (id) => document.getElementById(id);
const SILENCE_MS = 45_000;
const QUIET = new Set(["job_log", "tool_call", "tool_result", "task_progress", "agent_status", "status", "artifact_stored",
  "log", "diff_ready", "done", "worker_changed", "job_based", "approved", "denied"]);
let xsrf = null, xsrfHeader = "X-XSRF-Token", role = "viewer", run = 0;

class Refused extends Error {
  constructor(status, body) { super(body.error ?? `HTTP ${status}`); this.status = status; this.body = body; }
}

async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["Content-Type"] = "application/json";
    headers["Idempotency-Key"] = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
    if (xsrf) headers[xsrfHeader] = xsrf;
  }
  const answer = await fetch(path, { method, headers, credentials: "same-origin", cache: "no-store",
    body: method === "GET" ? undefined : JSON.stringify(body ?? {}) });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, read);
  return read;
}

// Characters that could make a text look like another one are spelled out.
const visible = (text) => String(text).replace(
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
  (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value; else if (name === "on") made.addEventListener("click", value); else made[name] = value;
  }
  made.append(...children.filter((c) => c != null).map((c) => (c instanceof Node ? c : document.createTextNode(visible(c)))));
  return made;
}

// --- in and out -------------------------------------------------------------------------------------

function show(which) {
  $("gate").hidden = which !== "gate"; $("room").hidden = which !== "room";
  $("pick").hidden = $("leave").hidden = which !== "room";
}

function state(name) {
  $("state").className = `state ${name}`;
  $("state").textContent = { live: "live", catching_up: "catching up", offline: "offline", "": "" }[name];
}

function gate(reason = "") {
  run += 1; xsrf = null; state(""); show("gate"); $("refused").textContent = reason; $("secret").focus();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const secret = $("secret").value.trim();
  $("refused").textContent = "";
  try {
    enter(await ask("POST", "login", secret.startsWith("pp_") ? { token: secret } : { code: secret }));
    $("secret").value = "";
  } catch (error) { $("refused").textContent = error.message; }
});

$("leave").addEventListener("click", async () => { await ask("POST", "logout").catch(() => {}); gate(); });

async function enter(who) {
  ({ xsrf, role } = who); xsrfHeader = who.xsrfHeader ?? xsrfHeader;
  $("say").hidden = role !== "operator";
  show("room");
  try {
    const { items } = await ask("GET", "sessions?limit=200");
    const named = items.filter((s) => s.id !== "_hub");
    const wanted = decodeURIComponent(location.hash.slice(1));
    $("session").replaceChildren(...named.map((s) => el("option", { value: s.id }, s.label ? `${s.id} · ${s.label}` : s.id)));
    if (!named.length) { $("empty").textContent = "There is no session yet."; return state(""); }
    $("session").value = named.some((s) => s.id === wanted) ? wanted : named[0].id;
    follow($("session").value);
  } catch (error) { failed(error); }
}

$("session").addEventListener("change", () => { location.hash = encodeURIComponent($("session").value); follow($("session").value); });

function failed(error) { if (error.status === 401) gate(error.message); else state("offline"); }

// --- one session, followed --------------------------------------------------------------------------

let cursor = 0, epoch = "", cut = null, lastByte = 0;

async function follow(session) {
  const mine = ++run, path = `sessions/${encodeURIComponent(session)}`;
  cut?.abort();
  $("talk").replaceChildren(); $("approvals").replaceChildren(); shown.clear(); cursor = 0; epoch = "";
  let failures = 0, first = true;
  while (mine === run) {
    try {
      state("catching_up");
      if (first) { await look(path, mine, true); first = false; }
      if (mine !== run) return;
      await stream(path, mine, () => { failures = 0; });
    } catch (error) {
      if (mine !== run) return;
      if (error.status === 401) return gate(error.message);
      console.warn(error);
      if (error.status === 404) { state("offline"); $("empty").textContent = error.message; return; }
    }
    if (mine !== run) return;
    state("offline");
    failures += 1;
    await new Promise((done) => { wake = done; setTimeout(done, Math.random() * Math.min(15_000, 300 * 2 ** failures)); });
  }
}

let wake = () => {};
addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => {
  // A phone may have frozen the page: the stream looks open and is dead.
  if (!document.hidden) { wake(); if (Date.now() - lastByte > 20_000) cut?.abort(); }
});

async function look(path, mine, withTalk) {
  const snapshot = await ask("GET", path);
  if (mine !== run) return;
  if (withTalk) {
    let after = Math.max((snapshot.session.first ?? 1) - 1, snapshot.cursor - 400);
    for (;;) {
      const page = await ask("GET", `${path}/history?limit=500&after=${after}`);
      if (mine !== run) return;
      for (const { envelope, cursor: at } of page.items) if (at <= snapshot.cursor) talk(envelope, at);
      if (page.next == null || page.next >= snapshot.cursor) break;
      after = page.next;
    }
    cursor = Math.max(cursor, snapshot.cursor); epoch = snapshot.session.epoch ?? "";
    scroll(true);
  }
  draw(snapshot);
}

async function stream(path, mine, well) {
  const query = new URLSearchParams({ after: cursor, epoch });
  cut = new AbortController();
  const dead = setInterval(() => { if (Date.now() - lastByte > SILENCE_MS) cut.abort(); }, 5_000);
  lastByte = Date.now();
  try {
    const answer = await fetch(`${path}/events?${query}`, { headers: { Accept: "text/event-stream" }, cache: "no-store",
      credentials: "same-origin", signal: cut.signal });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || mine !== run) return;
      lastByte = Date.now(); well();
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) await take(frame, path, mine);
    }
  } finally { clearInterval(dead); cut.abort(); }
}

async function take(frame, path, mine) {
  let id = null, event = "", data = "";
  for (const line of frame.split("\n")) {
    if (line.startsWith(": live ")) state("live");
    else if (line.startsWith("id: ")) id = Number(line.slice(4));
    else if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
  }
  if (!data || id == null) return;
  if (event === "reset") { cursor = id; $("talk").replaceChildren(); return look(path, mine, true); }
  if (id <= cursor) return;
  cursor = id;
  const envelope = JSON.parse(data), near = close();
  talk(envelope, id);
  scroll(near);
  if (/^(job_(?!log)|approv|denied|landing|lane|committed)/.test(envelope.type)) soon(path, mine);
}

let pending = false;
function soon(path, mine) {
  if (pending) return;
  pending = true;
  setTimeout(() => { pending = false; if (mine === run) look(path, mine, false).catch(failed); }, 250);
}

// --- the conversation -------------------------------------------------------------------------------

const close = () => innerHeight + scrollY > document.body.scrollHeight - 160;
function scroll(near) { if (near && matchMedia("(min-width: 62rem)").matches) scrollTo(0, document.body.scrollHeight); }

function words(e) {
  const p = e.payload, short = (s) => String(s ?? "").slice(0, 12);
  switch (e.type) {
    case "task_created": return `Task: ${p.title}`;
    case "plan_made": return `Plan: ${p.understanding}`;
    case "task_completed": return `Done: ${p.summary}`;
    case "task_failed": return `Failed: ${p.message}`;
    case "job_enqueued": return `Job queued: ${p.kind}`;
    case "job_claimed": return `${p.workerId} works on it`;
    case "job_completed": return `Job finished${p.summary ? `: ${p.summary}` : ""}`;
    case "job_failed": return `Job failed: ${p.message}`;
    case "job_requeued": return `Job goes back to the queue: ${p.reason}`;
    case "job_cancelled": return `Job cancelled by ${p.by}`;
    case "job_lease_lost": return `${p.workerId} went silent`;
    case "approval_required": return `Needs your approval: ${p.summary}`;
    case "approval_decided": return `${p.by} said ${p.decision === "approve" ? "yes" : "no"}${p.reason ? `: ${p.reason}` : ""}`;
    case "approval_expired": return "Nobody answered in time: no";
    case "approval_void": return `The question is void: ${p.reason}`;
    case "check_finished": return `Check ${p.evidence.check}: ${p.evidence.verdict.replaceAll("_", " ")}`;
    case "landing_moved": return `Landing: ${p.state.replaceAll("_", " ")}${p.cause ? ` (${p.cause})` : ""}`;
    case "committed": return `Commit ${short(p.commitHash)} on ${p.branch}: ${p.message.split("\n")[0]}`;
    case "error": return `Error: ${p.message}`;
    default: return e.type.replaceAll("_", " ");
  }
}

function talk(e, at) {
  if (QUIET.has(e.type)) return;
  const spoken = e.type === "message" || e.type === "assistant_message";
  const item = spoken
    ? el("li", { class: e.type === "message" ? "mine" : "" }, el("span", { class: "who" }, `${e.from ?? ""} · ${clock(e.ts)}`), e.payload.text)
    : el("li", { class: /fail|error|lost|expired/.test(e.type) ? "note bad" : "note" }, words(e));
  item.dataset.cursor = at;
  $("talk").append(item);
  $("empty").hidden = true;
  while ($("talk").children.length > 600) $("talk").firstChild.remove();
}

const clock = (ts) => new Date(ts).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("unsent").textContent = "";
  try {
    await ask("POST", `sessions/${encodeURIComponent($("session").value)}/message`, { text });
    $("text").value = "";
  } catch (error) { if (error.status === 401) gate(error.message); else $("unsent").textContent = `Not sent: ${error.message}`; }
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("say").requestSubmit(); }
});

// --- what waits, lands, runs ------------------------------------------------------------------------

const shown = new Map();
const GOOD = new Set(["completed", "landed", "green", "noop"]);
const BAD = new Set(["failed", "rejected", "conflict", "stale"]);

function tag(name) { return el("span", { class: `tag ${GOOD.has(name) ? "good" : BAD.has(name) ? "bad" : /claim|check|push|compos|prepar/.test(name) ? "warn" : ""}` }, name.replaceAll("_", " ")); }

function rows(id, items, make, none) {
  $(id).replaceChildren(...(items.length ? items.map(make) : [el("li", { class: "hint" }, none)]));
}

function draw(s) {
  $("approvals-count").textContent = s.approvals.length || "";
  document.title = s.approvals.length ? `(${s.approvals.length}) Push Pals` : "Push Pals";
  const open = new Set(s.approvals.map((a) => a.id));
  for (const [id, card] of shown) if (!open.has(id)) { card.remove(); shown.delete(id); }
  for (const approval of s.approvals) if (!shown.has(approval.id)) {
    const card = question(approval, s.landings.find((l) => l.id === approval.landingId));
    shown.set(approval.id, card); $("approvals").append(card);
  }
  if (!s.approvals.length) $("approvals").replaceChildren(el("p", { class: "hint" }, "Nothing waits for you."));
  else for (const hint of $("approvals").querySelectorAll(":scope > .hint")) hint.remove();
  rows("landings", s.landings.slice(0, 30), (l) => el("li", {}, el("div", { class: "top" }, el("span", {}, l.title), tag(l.state)),
    el("small", {}, `${l.branch} → ${l.target}${l.landedCommit ? ` · ${l.landedCommit.slice(0, 12)}` : ""}${l.cause ? ` · ${l.cause}` : ""}`)), "The queue is empty.");
  rows("jobs", s.jobs.slice(0, 30), (j) => el("li", {}, el("div", { class: "top" }, el("span", {}, j.title || j.kind), tag(j.status)),
    el("small", {}, [j.kind, j.workerId, j.attempt > 1 ? `attempt ${j.attempt}` : null, j.error?.message].filter(Boolean).join(" · "))), "No jobs.");
}

// A question shows the whole action before it offers a yes. What cannot be shown cannot be approved.
function question(approval, landing) {
  const problem = el("p", { class: "problem" }), steps = el("div", { class: "steps" }), body = el("div");
  const card = el("article", { class: "card ask" }, el("h3", {}, approval.summary), body,
    approval.says ? el("blockquote", {}, approval.says) : null, steps, problem);
  const facts = (pairs) => el("dl", {}, ...pairs.flatMap(([k, v]) => [el("dt", {}, k), el("dd", { class: "mono" }, v)]));
  body.append(facts(Object.entries(approval.action).map(([k, v]) => [k, Array.isArray(v) && v.every((x) => typeof x === "string")
    ? v.map((x) => JSON.stringify(x)).join("\n") : typeof v === "string" ? v : JSON.stringify(v, null, 1)])));
  const ready = approval.kind !== "land" ? Promise.resolve() : diff(landing).then((d) => { body.append(d); });
  ready.then(() => { if (role === "operator") choose(); else steps.append(el("span", { class: "hint" }, "An operator decides.")); },
    (error) => { problem.textContent = `The change cannot be shown, so it cannot be approved here: ${error.message}`; if (role === "operator") choose(false); });

  let canApprove = true;
  function choose(may = true) {
    canApprove = may;
    const no = el("button", { class: "no", on: () => confirm("deny") }, "Deny…");
    steps.replaceChildren(...(canApprove ? [el("button", { on: () => confirm("approve") }, "Approve…"), no] : [no]));
  }
  function confirm(decision) {
    const sure = el("button", { class: decision === "approve" ? "main" : "no", disabled: true, on: () => decide(decision) },
      decision === "approve" ? `Yes, ${approval.summary}` : "Yes, deny it");
    steps.replaceChildren(sure, el("button", { class: "quiet", on: () => choose(canApprove) }, "Back"));
    setTimeout(() => { sure.disabled = false; sure.focus(); }, 500); // a double click is not two decisions
  }
  async function decide(decision) {
    for (const button of steps.children) button.disabled = true;
    try {
      await ask("POST", `approvals/${encodeURIComponent(approval.id)}`, { decision, actionHash: approval.actionHash, device: "status page" });
      steps.replaceChildren(el("span", { class: "hint" }, decision === "approve" ? "Approved." : "Denied."));
    } catch (error) {
      if (error.status === 401) return gate(error.message);
      problem.textContent = error.message; choose(canApprove);
    }
  }
  return card;
}

async function diff(landing) {
  if (!landing?.patch) throw new Error("the landing carries no patch");
  const answer = await fetch(`artifacts/${landing.patch}`, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const lines = (await answer.text()).split("\n"), code = el("code");
  if (lines.length > 20_000) code.append(visible(lines.join("\n")));
  else for (const line of lines) {
    const kind = /^diff /.test(line) ? "file" : line.startsWith("@@") ? "hunk" : line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : "";
    code.append(el("span", { class: kind }, line));
  }
  return el("pre", { class: "diff", tabIndex: 0 }, code);
}

// A paired device comes with its one-time code behind the hash, which no server and no log ever sees.
const paired = /^#code=([A-Za-z0-9-]{12,20})$/.exec(location.hash);
if (paired) history.replaceState(null, "", location.pathname);
(paired ? ask("POST", "login", { code: paired[1] }) : ask("GET", "login")).then(enter, (error) => gate(error.status === 401 ? "" : error.message));
