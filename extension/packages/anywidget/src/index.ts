/**
 * The widget's module: one file, no imports, because it travels inside the notebook's own messages.
 *
 * The road and the store belong to the model, so all views of one widget share one stream. They begin with
 * the first view: a kernel must not work for an output that nobody looks at.
 */
import { SessionStore } from "@pushpals/core";
import { ENGLISH, mount, type Mounted } from "@pushpals/ui";
import { jupyterPage } from "./jupyter.js";
import type { Model } from "./model.js";
import { findRoad, type Road } from "./road.js";
import { followTheme } from "./theme.js";

const WAITS = "The kernel is busy. What you send waits until the cell ends.";
const NOT_HERE = "Not decided here: this console goes through the notebook's kernel, and an agent may have written what runs "
  + "in it. Decide in the panel of JupyterLab, on the hub's page (pushpals open), or with: pushpals approve";
const GONE = "The kernel of this console has ended. Run the cell again.";

interface Shared {
  road: Promise<Road>;
  store: SessionStore | null;
  session: string;
  waiting: boolean;
  gone: boolean;
  listeners: Set<() => void>;
}

export default () => {
  let shared: Shared | null = null;

  const begin = (model: Model): Shared => {
    const made: Shared = {
      road: Promise.resolve(null as never), store: null, session: "", waiting: false, gone: false,
      listeners: new Set(),
    };
    const tell = (): void => made.listeners.forEach((listener) => listener());
    made.road = findRoad(model, jupyterPage(), (waiting) => {
      made.waiting = waiting;
      tell();
    });
    model.on("comm_live_update", () => {
      made.gone = (model as { comm_live?: boolean }).comm_live === false;
      tell();
    });
    return made;
  };

  return {
    initialize({ model }: { model: Model }) {
      return () => {
        const ended = shared;
        shared = null;
        ended?.store?.dispose();
        void ended?.road.then((road) => road.dispose());
        void model;
      };
    },

    async render({ model, el }: { model: Model; el: HTMLElement }) {
      const ours = (shared ??= begin(model));
      const note = document.createElement("div");
      note.setAttribute("role", "status");
      note.style.cssText = "font: 12px/1.5 var(--jp-ui-font-family, system-ui); padding: 4px 8px;"
        + "color: var(--jp-ui-font-color1, CanvasText); background: var(--jp-warn-color3, Canvas);";
      const place = document.createElement("div");
      place.style.cssText = "position: relative; overflow: hidden; border: 1px solid var(--jp-border-color2, #8884);";
      el.append(note, place);

      const road = await ours.road;
      const words = (): void => {
        const text = road.transport.kind !== "comm" ? "" : ours.gone ? GONE : ours.waiting ? WAITS : "";
        note.textContent = text;
        note.hidden = text === "";
      };
      const storeOf = (session: string): SessionStore => {
        if (ours.store === null || ours.session !== session) {
          ours.store?.dispose();
          ours.store = new SessionStore(road.transport, session);
          ours.session = session;
        }
        return ours.store;
      };
      const size = (): void => {
        place.style.height = `${Number(model.get("height")) || 600}px`;
      };
      let mounted: Mounted | null = null;
      let unfollow = (): void => {};
      const show = (): void => {
        const session = String(model.get("session") || "dev");
        unfollow();
        mounted?.dispose();
        mounted = mount(place, {
          transport: road.transport, session, store: storeOf(session), capabilities: road.capabilities,
          theme: themed() ? "host" : "auto", device: "notebook",
          ...(road.transport.kind === "comm" ? { strings: { approval: { ...ENGLISH.approval, notYours: NOT_HERE } } } : {}),
          onSession: (chosen) => {
            model.set("session", chosen);
            model.save_changes();
          },
        });
        unfollow = followTheme(mounted.element);
      };
      words();
      size();
      show();
      ours.listeners.add(words);
      model.on("change:height", size);
      model.on("change:session", show);
      return () => {
        ours.listeners.delete(words);
        model.off("change:height", size);
        model.off("change:session", show);
        unfollow();
        mounted?.dispose();
        note.remove();
        place.remove();
      };
    },
  };
};

/** Whether the page has Jupyter's colours. */
function themed(): boolean {
  return getComputedStyle(document.body).getPropertyValue("--jp-layout-color0") !== "";
}
