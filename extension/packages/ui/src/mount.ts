/**
 * `mount(node, options)` puts a console into a node: the only entry of this package.
 *
 * It makes an open shadow root on a child of `node`, adopts one style sheet, and renders there; nothing of
 * the page leaks in but `--jp-*` and `--pp-*` variables, and nothing leaks out. The host element carries
 * `data-lm-suppress-shortcuts`, so that keys typed here stay here.
 */
import { SessionStore, type NeedsYou, type Transport } from "@pushpals/core";
import { h, render } from "preact";
import { App, type Going } from "./app.js";
import type { Strings } from "./strings.js";
import { STYLES } from "./styles.js";

/** `host` takes colours from the page's `--jp-*` variables; `auto` follows the device. */
export type Theme = "auto" | "light" | "dark" | "host";

export type Place = "inbox" | "chat" | "work" | "changes" | "queue" | "timeline";

/** What this person may do here. All but `decide` false makes a console that only looks. */
export interface Capabilities {
  /** Post messages and answers. */
  say: boolean;
  /** Approve and deny. False shows what is asked and who may answer. */
  decide: boolean;
  /** Cancel and retry jobs and landings, enqueue follow-ups. */
  work: boolean;
  /** Pause and open lanes, drain workers. */
  manage: boolean;
}

export interface MountOptions {
  transport: Transport;
  /** The session to show. */
  session: string;
  /** Default `auto`. */
  theme?: Theme;
  /** Default: everything; the hub refuses what the token may not do. */
  capabilities?: Partial<Capabilities>;
  /** Words in another language; what is missing stays English. */
  strings?: Partial<Strings>;
  /** Share the stream of another view of the same session. Made from `transport` and `session` if missing. */
  store?: SessionStore;
  /** Named on decisions: "phone", "JupyterLab". */
  device?: string;
  /** Which view to show first; default `inbox` if something waits, else `chat`. */
  place?: Place;
  /** Called when what waits for the person changes: badges, titles, status items. */
  onNeedsYou?: (items: readonly NeedsYou[]) => void;
  /** Called when the person picks another session. Without it there is no picker. */
  onSession?: (session: string) => void;
  /** More entries for the corner of the header, e.g. log out. */
  actions?: readonly { label: string; run: () => void }[];
}

export interface Mounted {
  /** The shadow root's host, to size or style from outside. */
  readonly element: HTMLElement;
  readonly store: SessionStore;
  focusInbox(): void;
  show(place: Place, id?: string): void;
  setSession(session: string): void;
  setTheme(theme: Theme): void;
  dispose(): void;
}

export function mount(node: HTMLElement, options: MountOptions): Mounted {
  const element = document.createElement("div");
  element.dataset["lmSuppressShortcuts"] = "true";
  element.style.height = "100%";
  node.append(element);
  const root = element.attachShadow({ mode: "open" });
  adopt(root);
  const body = document.createElement("div");
  body.style.display = "contents";
  root.append(body);

  const shelf = storage();
  const owned = (session: string): SessionStore => new SessionStore(options.transport, session, { shelf });
  let store = options.store ?? owned(options.session);
  let theme: Theme = options.theme ?? "auto";
  let going: Going = { place: null, id: null, serial: 0 };
  let disposed = false;

  const draw = (): void => {
    if (!disposed) render(h(App, { key: store.session, options, store, theme, going, shelf }), body);
  };
  const show = (place: Place, id?: string): void => {
    going = { place, id: id ?? null, serial: going.serial + 1 };
    draw();
  };
  store.start();
  draw();

  return {
    element,
    get store() {
      return store;
    },
    show,
    focusInbox: () => {
      show("inbox");
      requestAnimationFrame(() => root.querySelector<HTMLElement>("[data-inbox] button")?.focus());
    },
    setSession: (session) => {
      if (session === store.session) return;
      if (store !== options.store) store.dispose();
      store = owned(session);
      going = { place: null, id: null, serial: 0 };
      store.start();
      draw();
    },
    setTheme: (to) => {
      theme = to;
      draw();
    },
    dispose: () => {
      disposed = true;
      render(null, body);
      if (store !== options.store) store.dispose();
      element.remove();
    },
  };
}

let sheet: CSSStyleSheet | null = null;

/** One constructed sheet for all consoles of a page; it needs no inline style, which a strict policy forbids. */
function adopt(root: ShadowRoot): void {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
  }
  root.adoptedStyleSheets = [sheet];
}

/** The browser's storage, where it lets us. */
function storage(): Storage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
