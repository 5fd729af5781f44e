/**
 * Push Pals in JupyterLab and Notebook: a panel, a launcher tile, commands, a status item, notifications.
 *
 * Every service of the host is optional but commands and settings, so the same plugin works where there is
 * no launcher, no status bar and no main area to split, as in Notebook.
 */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, InputDialog, WidgetTracker } from "@jupyterlab/apputils";
import { PageConfig } from "@jupyterlab/coreutils";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { Place, SessionStoreLike } from "./types.js";
import { icon } from "./icon.js";
import { Notifier } from "./notify.js";
import { Panel } from "./panel.js";
import { StatusItem } from "./status.js";
import { Team } from "./team.js";

const PLUGIN = "pushpals:plugin";
const PLACES: readonly Place[] = ["inbox", "chat", "work", "changes", "queue", "timeline"];
const CODE = "from pushpals import Console\n\nConsole()";

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: "The console of Push Pals.",
  autoStart: true,
  requires: [],
  optional: [
    ISettingRegistry, ICommandPalette, ILauncher, ILayoutRestorer, IStatusBar, INotebookTracker, ITranslator, ILabShell,
  ],
  activate: (
    app: JupyterFrontEnd,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    statusBar: IStatusBar | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null,
    labShell: ILabShell | null,
  ) => {
    const trans = (translator ?? nullTranslator).load("pushpals");
    const category = trans.__("Push Pals");
    const team = new Team(app.serviceManager.serverSettings);
    const tracker = new WidgetTracker<Panel>({ namespace: "pushpals" });
    const chosen = { session: "", area: "main", notifications: true, statusBar: true };
    let session = "dev";
    let stopWatching: (() => void) | null = null;

    const openPanel = (place?: Place, id?: string): Panel => {
      let panel = tracker.find((one) => !one.isDisposed);
      if (panel === undefined) {
        panel = new Panel(team, session, (next) => switchTo(next), trans);
        void tracker.add(panel);
      }
      if (!panel.isAttached) {
        const area = labShell === null ? "right" : chosen.area;
        app.shell.add(panel, area, area === "main" ? { mode: "split-right" } : { rank: 900 });
      }
      if (place !== undefined) panel.show_(place, id);
      app.shell.activateById(panel.id);
      if (labShell === null) (app.shell as { expandRight?: (id?: string) => void }).expandRight?.(panel.id);
      return panel;
    };

    const status = new StatusItem(trans, () => openPanel("inbox"));
    const notifier = new Notifier(trans, (id) => openPanel("inbox", id), () => chosen.notifications);

    const watch = (): void => {
      stopWatching?.();
      const store: SessionStoreLike = team.store(session);
      const see = (): void => {
        const { connection } = store.get();
        status.show_(store.needsYou.length, connection, session);
        notifier.see(store.needsYou, connection === "live");
      };
      stopWatching = store.subscribe(see);
      see();
    };

    const switchTo = (next: string): void => {
      if (next === session) return;
      const before = session;
      session = next;
      tracker.forEach((panel) => {
        panel.setSession(next);
        void tracker.save(panel);
      });
      watch();
      team.leave(before);
    };

    const { commands } = app;
    commands.addCommand("pushpals:open", {
      label: trans.__("Open Push Pals"),
      caption: trans.__("Show the console: what needs you, chat, work, changes, landing queue"),
      icon: (args) => (args.isPalette ? undefined : icon),
      describedBy: {
        args: {
          type: "object",
          additionalProperties: false,
          properties: {
            session: { type: "string", description: "The session to show; default: the one shown last" },
            place: { type: "string", enum: PLACES, description: "Which view to show" },
            id: { type: "string", description: "What to show there: a job, an approval, a landing" },
            isPalette: { type: "boolean" },
          },
        },
      },
      execute: (args) => {
        if (typeof args.session === "string" && args.session) switchTo(args.session);
        const place = PLACES.find((one) => one === args.place);
        openPanel(place, typeof args.id === "string" ? args.id : undefined);
      },
    });
    commands.addCommand("pushpals:approve-next", {
      label: trans.__("Look at the Next Approval"),
      caption: trans.__("Open what blocks most, with its evidence. Nothing is decided yet"),
      describedBy: { args: { type: "object", additionalProperties: false, properties: {} } },
      execute: () => {
        const next = team.store(session).needsYou.find((item) => item.kind === "approval");
        openPanel("inbox", next?.id);
      },
    });
    commands.addCommand("pushpals:new-session", {
      label: trans.__("New Session…"),
      caption: trans.__("Begin another conversation with the team"),
      describedBy: {
        args: {
          type: "object",
          additionalProperties: false,
          properties: { session: { type: "string", description: "Its name: letters, digits, dot, dash, underscore" } },
        },
      },
      execute: async (args) => {
        const given = typeof args.session === "string" ? args.session : null;
        const asked = given ?? (await InputDialog.getText({
          title: trans.__("New session"),
          label: trans.__("Letters, digits, dot, dash, underscore"),
          pattern: "[A-Za-z0-9._\\-]{1,64}",
        })).value;
        if (!asked) return;
        await team.transport.request("POST", "sessions", { sessionId: asked });
        switchTo(asked);
        openPanel("chat");
      },
    });
    commands.addCommand("pushpals:insert-connect-code", {
      label: trans.__("Insert Code to Connect"),
      caption: trans.__("Add a cell to the notebook that shows the console there"),
      isEnabled: () => (notebooks?.currentWidget ?? null) !== null,
      describedBy: { args: { type: "object", additionalProperties: false, properties: {} } },
      execute: () => {
        const notebook = notebooks?.currentWidget?.content;
        if (!notebook) return;
        NotebookActions.insertBelow(notebook);
        notebook.activeCell?.model.sharedModel.setSource(CODE);
      },
    });

    for (const command of ["pushpals:open", "pushpals:approve-next", "pushpals:new-session", "pushpals:insert-connect-code"]) {
      palette?.addItem({ command, category, args: command === "pushpals:open" ? { isPalette: true } : {} });
    }
    launcher?.add({ command: "pushpals:open", category: trans.__("Other"), rank: 0 });
    if (restorer !== null) {
      void restorer.restore(tracker, {
        command: "pushpals:open",
        args: (panel) => ({ session: panel.session }),
        name: () => "pushpals",
      });
    }

    const begin = async (): Promise<void> => {
      let named = false;
      if (registry !== null) {
        try {
          const settings = await registry.load(PLUGIN);
          const take = (): void => {
            Object.assign(chosen, settings.composite);
            if (chosen.session && chosen.session !== session) switchTo(chosen.session);
          };
          named = Boolean(settings.composite.session);
          take();
          settings.changed.connect(take);
        } catch {
          // Without settings the defaults hold.
        }
      }
      if (statusBar !== null && chosen.statusBar) {
        statusBar.registerStatusItem(PLUGIN, { item: status, align: "right", rank: 50 });
      }
      const hub = await team.hub();
      const restored = tracker.find((panel) => !panel.isDisposed);
      if (restored !== undefined) session = restored.session;
      else if (!named) session = hub.session;
      if (hub.ok) watch();
      else status.show_(0, "offline", session);
      await app.restored;
      if (PageConfig.getOption("pushpalsOpen") === "true" && tracker.size === 0 && !opened()) openPanel();
    };
    void begin();
  },
};

/** Whether this tab has been opened with the console once already; closing it then is the person's wish. */
function opened(): boolean {
  try {
    const before = sessionStorage.getItem("pushpals-opened") !== null;
    sessionStorage.setItem("pushpals-opened", "yes");
    return before;
  } catch {
    return false;
  }
}

export default plugin;
