/** The status item: how much needs the person. Fed by the one stream; a click opens the inbox. */
import type { TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { icon } from "./icon.js";

export class StatusItem extends Widget {
  private readonly text = document.createElement("span");

  constructor(private readonly trans: TranslationBundle, open: () => void) {
    super({ node: document.createElement("button") });
    this.id = "pushpals-status";
    this.node.style.cssText = "all: unset; display: inline-flex; align-items: center; gap: 4px; height: 100%;"
      + "padding: 0 6px; cursor: pointer; font-size: var(--jp-ui-font-size1); color: inherit;";
    this.node.addEventListener("click", open);
    this.node.addEventListener("focus", () => {
      this.node.style.outline = "1px solid currentColor";
    });
    this.node.addEventListener("blur", () => {
      this.node.style.outline = "";
    });
    icon.element({ container: this.node, height: "14px", width: "14px", tag: "span" });
    this.node.append(this.text);
    this.show_(0, "catching_up", "");
  }

  show_(needs: number, connection: string, session: string): void {
    const { trans } = this;
    const said = needs === 0 ? "" : trans._n("%1 needs you", "%1 need you", needs);
    const away = connection === "offline" ? trans.__("offline") : "";
    this.text.textContent = [said, away].filter(Boolean).join(" · ");
    this.node.style.fontWeight = needs === 0 ? "" : "600";
    const name = [trans.__("Push Pals, session %1", session || "dev"), said || trans.__("nothing needs you"), away];
    this.node.setAttribute("aria-label", name.filter(Boolean).join(": "));
    this.node.title = name.filter(Boolean).join(": ");
  }
}
