/**
 * The Jupyter page that we are in, if we are in one: where its server is, and how it wants to be asked.
 *
 * JupyterHub checks the XSRF token of reads, too, so it goes with every request.
 */
export interface JupyterPage {
  /** The server, with a slash at the end. */
  readonly base: URL;
  readonly fetch: typeof fetch;
}

/** What the server extension says about its hub (`pushpals/server/jupyter.py`). */
export interface Hub {
  readonly ok: boolean;
  readonly session: string;
  readonly decisions: boolean;
  readonly origin: string | null;
  readonly url: string | null;
  readonly fingerprint: string | null;
  readonly role: string | null;
  readonly label: string | null;
  readonly why: string | null;
}

export function jupyterPage(page: Document = document): JupyterPage | null {
  const element = page.getElementById("jupyter-config-data");
  if (element === null) return null;
  let config: { baseUrl?: unknown; token?: unknown };
  try {
    config = JSON.parse(element.textContent || "{}") as typeof config;
  } catch {
    return null;
  }
  if (typeof config.baseUrl !== "string") return null;
  const base = new URL(config.baseUrl.endsWith("/") ? config.baseUrl : `${config.baseUrl}/`, page.baseURI);
  if (base.origin !== new URL(page.baseURI).origin) return null;
  const token = typeof config.token === "string" ? config.token : "";
  return {
    base,
    fetch: (input, init = {}) => {
      const headers = new Headers(init.headers);
      const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(page.cookie)?.[1];
      if (xsrf) headers.set("X-XSRFToken", xsrf);
      if (token) headers.set("Authorization", `token ${token}`);
      return fetch(input, { ...init, headers, credentials: "same-origin" });
    },
  };
}

/** The hub behind the Jupyter server, or null where our server extension is not. */
export async function hubOf(page: JupyterPage): Promise<Hub | null> {
  try {
    const answer = await page.fetch(new URL("pushpals/hub", page.base), {
      headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(10_000),
    });
    return answer.ok ? ((await answer.json()) as Hub) : null;
  } catch {
    return null;
  }
}
