/**
 * The one connection of this JupyterLab: one transport, and one store for each session that is looked at.
 *
 * The status item, the notifications and every panel share them, so there is one stream however many views
 * are open; tabs of the same browser share it too. Nothing here polls: without a hub it is asked for again
 * when somebody opens the console.
 */
import { HttpTransport, SessionStore } from "@pushpals/core";
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";

/** What the server extension says about its hub (`pushpals/server/jupyter.py`). */
export interface Hub {
  readonly ok: boolean;
  readonly session: string;
  readonly decisions: boolean;
  readonly origin: string | null;
  readonly why: string | null;
}

export class Team {
  readonly transport: HttpTransport;
  private readonly stores = new Map<string, SessionStore>();
  private readonly settings: ServerConnection.ISettings;

  constructor(settings?: ServerConnection.ISettings) {
    this.settings = settings ?? ServerConnection.makeSettings();
    this.transport = new HttpTransport({
      base: new URL(URLExt.join(this.settings.baseUrl, "pushpals/api/"), document.baseURI),
      // Jupyter's own way: it adds the XSRF header and the token that this page was given.
      fetch: (input, init) => ServerConnection.makeRequest(String(input), init ?? {}, this.settings),
      kind: "jupyter-proxy",
      share: true,
    });
  }

  async hub(): Promise<Hub> {
    const none = { ok: false, session: "dev", decisions: false, origin: null };
    try {
      const url = URLExt.join(this.settings.baseUrl, "pushpals/hub");
      const answer = await ServerConnection.makeRequest(url, {}, this.settings);
      if (answer.ok) return (await answer.json()) as Hub;
      const why = answer.status === 404
        ? "The Jupyter server does not run the extension of Push Pals. Enable it: jupyter server extension enable pushpals"
        : `The Jupyter server answered ${answer.status}.`;
      return { ...none, why };
    } catch {
      return { ...none, why: "The Jupyter server does not answer." };
    }
  }

  /** The store of a session; it lives as long as this page. */
  store(session: string): SessionStore {
    let store = this.stores.get(session);
    if (store === undefined) {
      store = new SessionStore(this.transport, session, { shelf: shelf() });
      this.stores.set(session, store);
      store.start();
    }
    return store;
  }

  /** Stop following a session that nobody looks at any more. */
  leave(session: string): void {
    this.stores.get(session)?.dispose();
    this.stores.delete(session);
  }
}

/** Where unsent messages wait over a reload, if the browser lets us. */
function shelf(): Storage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
