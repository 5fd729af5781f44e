/** Notifications of JupyterLab for approvals, and for nothing else. Each is shown once and goes when it is decided. */
import { Notification } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { NeedsYou } from "@pushpals/core";

export class Notifier {
  private readonly shown = new Map<string, string>();
  private quiet = true;

  constructor(
    private readonly trans: TranslationBundle,
    private readonly look: (id: string) => void,
    private readonly wanted: () => boolean,
  ) {}

  /** What needs the person now. What waits already when the page is opened is in the status item, not here. */
  see(items: readonly NeedsYou[], live: boolean): void {
    const open = new Map(items.filter((item) => item.kind === "approval").map((item) => [item.id, item]));
    for (const [id, notification] of this.shown) {
      if (open.has(id)) continue;
      if (notification) Notification.dismiss(notification);
      this.shown.delete(id);
    }
    for (const [id, item] of open) {
      if (this.shown.has(id)) continue;
      this.shown.set(id, this.quiet || !this.wanted() ? "" : this.notify(id, item.title));
    }
    if (live) this.quiet = false;
  }

  private notify(id: string, title: string): string {
    const text = title.length > 120 ? `${title.slice(0, 119)}…` : title;
    return Notification.info(this.trans.__("Push Pals asks: %1", text), {
      autoClose: false,
      actions: [
        {
          label: this.trans.__("Look"),
          caption: this.trans.__("Open the approval with its evidence"),
          displayType: "accent",
          callback: () => this.look(id),
        },
      ],
    });
  }
}
