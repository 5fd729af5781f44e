/** The console as a widget of JupyterLab. */
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { mount, type Mounted, type Place } from "@pushpals/ui";
import { followTheme } from "../../anywidget/src/theme.js";
import { icon } from "./icon.js";
import type { Hub, Team } from "./team.js";

export class Panel extends Widget {
  private mounted: Mounted | null = null;
  private unfollow: (() => void) | null = null;
  private wanted: { place: Place; id?: string } | null = null;

  constructor(
    private readonly team: Team,
    public session: string,
    private readonly onSession: (session: string) => void,
    private readonly trans: TranslationBundle,
  ) {
    super();
    this.id = "pushpals-console";
    this.title.label = trans.__("Push Pals");
    this.title.caption = trans.__("Push Pals: session %1", session);
    this.title.icon = icon;
    this.title.closable = true;
    this.addClass("pushpals-panel");
    this.node.tabIndex = -1;
    this.node.style.cssText = "min-width: 280px; height: 100%; overflow: hidden; outline: none; background: var(--jp-layout-color1);";
    // Keys typed in the console are not commands of the notebook behind it.
    this.node.dataset.lmSuppressShortcuts = "true";
  }

  show_(place: Place, id?: string): void {
    if (this.mounted !== null) this.mounted.show(place, id);
    else this.wanted = { place, ...(id === undefined ? {} : { id }) };
  }

  setSession(session: string): void {
    if (session === this.session) return;
    this.session = session;
    this.title.caption = this.trans.__("Push Pals: session %1", session);
    if (this.mounted !== null) this.remount();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.mounted === null) void this.begin();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    if (!this.node.contains(document.activeElement)) this.node.focus();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.unmount();
    super.dispose();
  }

  private async begin(): Promise<void> {
    const hub = await this.team.hub();
    if (this.isDisposed || this.mounted !== null) return;
    this.hub = hub;
    if (hub.ok) this.remount();
    else this.explain(hub.why ?? "");
  }

  private hub: Hub | null = null;

  private remount(): void {
    this.unmount();
    this.node.replaceChildren();
    this.mounted = mount(this.node, {
      transport: this.team.transport,
      session: this.session,
      store: this.team.store(this.session),
      theme: "host",
      device: "JupyterLab",
      capabilities: { decide: this.hub?.decisions ?? true },
      onSession: (session) => this.onSession(session),
    });
    this.unfollow = followTheme(this.mounted.element);
    if (this.wanted !== null) this.mounted.show(this.wanted.place, this.wanted.id);
    this.wanted = null;
  }

  private unmount(): void {
    this.unfollow?.();
    this.mounted?.dispose();
    this.unfollow = this.mounted = null;
  }

  /** Why there is nothing, and what to do: an empty panel tells nobody anything. */
  private explain(why: string): void {
    const box = document.createElement("div");
    box.setAttribute("role", "status");
    box.style.cssText = "padding: 24px; max-width: 60ch; font: 13px/1.6 var(--jp-ui-font-family);"
      + "color: var(--jp-ui-font-color1);";
    const head = document.createElement("h2");
    head.textContent = this.trans.__("No hub yet");
    head.style.cssText = "font-size: 16px; font-weight: 600; margin: 0 0 8px;";
    const text = document.createElement("p");
    text.textContent = why.charAt(0).toUpperCase() + why.slice(1);
    text.style.margin = "0 0 16px";
    const again = document.createElement("button");
    again.textContent = this.trans.__("Look again");
    again.className = "jp-mod-styled jp-mod-accept";
    again.addEventListener("click", () => void this.begin());
    box.append(head, text, again);
    this.node.replaceChildren(box);
  }
}
