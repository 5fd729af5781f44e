/**
 * `mount(node, options)` puts a console into a node: the only entry of this package.
 *
 * It makes an open shadow root on a child of `node`, adopts one style sheet, and renders there; nothing of
 * the page leaks in but `--jp-*` and `--pp-*` variables, and nothing leaks out. The host element carries
 * `data-lm-suppress-shortcuts`, so that keys typed here stay here.
 */
import type { NeedsYou, SessionStore, Transport } from "@pushpals/core";
import type { Strings } from "./strings.js";

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
