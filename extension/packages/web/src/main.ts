/**
 * The console as a page of the hub: log in, pick a session, mount.
 *
 * Addresses are relative to the page, so it works wherever the hub is mounted. The cookie that the hub sets
 * is not readable here; writes carry the XSRF value that the hub gave with the login.
 */
import { HttpTransport, Refusal, type LoggedIn, type Role, type Sessions, type Session } from "@pushpals/core";
import { ENGLISH, mount, type Mounted } from "@pushpals/ui";

const base = new URL("./", document.baseURI);
const gate = document.getElementById("gate")!;
const form = document.getElementById("login") as HTMLFormElement;
const secret = document.getElementById("secret") as HTMLInputElement;
const refused = document.getElementById("refused")!;
const room = document.getElementById("room")!;

let who: LoggedIn | null = null;
let transport: HttpTransport | null = null;
let mounted: Mounted | null = null;

function open(): HttpTransport {
  return new HttpTransport({
    base,
    share: true,
    headers: (method) => (method !== "GET" && who?.xsrf ? { [who.xsrfHeader]: who.xsrf } : {}),
    onUnauthenticated: (why) => {
      if (who !== null) leave(why);
    },
  });
}

function leave(why = ""): void {
  mounted?.dispose();
  transport?.dispose();
  mounted = null;
  transport = null;
  who = null;
  room.hidden = true;
  gate.hidden = false;
  refused.textContent = why;
  document.title = ENGLISH.product;
  secret.focus();
}

async function enter(known: LoggedIn): Promise<void> {
  who = known;
  transport = open();
  gate.hidden = true;
  room.hidden = false;
  const { items } = await transport.request<Sessions>("GET", "sessions?limit=200");
  const named = items.filter((session) => session.id !== "_hub");
  const wanted = hashed();
  const session = named.find(({ id }) => id === wanted)?.id ?? wanted ?? newest(named);
  const operator = (known.role as Role) === "operator";
  mounted = mount(room, {
    transport,
    session,
    capabilities: { say: operator, decide: operator, work: operator, manage: operator },
    device: device(),
    onSession: (id) => {
      location.hash = encodeURIComponent(id);
    },
    onNeedsYou: (needs) => {
      document.title = needs.length > 0 ? `(${needs.length}) ${ENGLISH.product}` : ENGLISH.product;
      void (navigator as Navigator & { setAppBadge?: (n: number) => Promise<void> }).setAppBadge?.(needs.length).catch(() => {});
    },
    actions: [{ label: "Log out", run: () => void logOut() }],
  });
}

const newest = (sessions: readonly Session[]): string => sessions[0]?.id ?? "dev";

function hashed(): string | null {
  try {
    return decodeURIComponent(location.hash.slice(1)) || null;
  } catch {
    return null;
  }
}

/** What decisions are signed with: "phone" says more to a person than a user agent. */
function device(): string {
  return matchMedia("(max-width: 720px)").matches ? "phone" : "web page";
}

async function logOut(): Promise<void> {
  await transport?.request("POST", "logout", {}).catch(() => {});
  leave();
}

async function logIn(event: Event): Promise<void> {
  event.preventDefault();
  const typed = secret.value.trim();
  refused.textContent = "";
  const asking = open();
  try {
    const body = typed.startsWith("pp_") ? { token: typed } : { code: typed };
    const known = await asking.request<LoggedIn>("POST", "login", body);
    secret.value = "";
    await enter(known);
  } catch (error) {
    refused.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    asking.dispose();
  }
}

/** A paired device comes with its one-time code behind the hash, which no server and no log ever sees. */
async function pair(): Promise<boolean> {
  const code = /^#code=([A-Za-z0-9-]{6,64})$/.exec(location.hash)?.[1];
  if (code === undefined) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const asking = open();
  try {
    await enter(await asking.request<LoggedIn>("POST", "login", { code }));
  } catch (error) {
    leave(error instanceof Error ? error.message : String(error));
  } finally {
    asking.dispose();
  }
  return true;
}

async function begin(): Promise<void> {
  form.addEventListener("submit", (event) => void logIn(event));
  addEventListener("hashchange", () => {
    const id = hashed();
    if (id) mounted?.setSession(id);
  });
  serviceWorker();
  if (await pair()) return;
  const asking = open();
  for (let failures = 0; ; failures += 1) {
    try {
      await enter(await asking.request<LoggedIn>("GET", "login"));
      return;
    } catch (error) {
      if (error instanceof Refusal) return leave(error.status === 401 ? "" : error.message);
      gate.hidden = false;
      refused.textContent = `${error instanceof Error ? error.message : String(error)} Trying again.`;
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 500 * 2 ** failures)));
    }
  }
}

/** The shell of the page is kept for a bad link; requests and events never are. */
function serviceWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  const policies = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string } } }).trustedTypes;
  const address = new URL("page/sw.js", base).href;
  const trusted = policies?.createPolicy("pushpals", {
    createScriptURL: (url) => {
      if (url !== address) throw new TypeError("only the page's own service worker");
      return url;
    },
  });
  navigator.serviceWorker.register((trusted?.createScriptURL(address) ?? address) as string, { scope: base.pathname }).catch(() => {});
}

void begin();
