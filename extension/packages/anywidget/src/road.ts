/** Which way a widget goes to its hub. */
import { HttpTransport, type RequestOptions, type Method, type Transport } from "@pushpals/core";
import type { Capabilities } from "@pushpals/ui";
import { COMM_BASE, CommFetch } from "./comm.js";
import { hubOf, type JupyterPage } from "./jupyter.js";
import type { Model } from "./model.js";

export interface Road {
  readonly transport: Transport;
  readonly capabilities: Partial<Capabilities>;
  dispose(): void;
}

/** Longer than a cell usually runs: a message waits for the kernel, and is not lost while it does. */
const PATIENCE_MS = 30 * 60_000;

/**
 * Through the Jupyter server where it means the same hub as the kernel, else through the kernel.
 *
 * The first never waits for the kernel, and carries the person's own rights. They mean the same hub if the
 * fingerprints are equal, or if the kernel found none.
 */
export async function findRoad(
  model: Model, page: JupyterPage | null, onWaiting: (waiting: boolean) => void,
): Promise<Road> {
  const hub = page === null ? null : await hubOf(page);
  const kernels = String(model.get("hub") ?? "");
  if (page !== null && hub !== null && (kernels === "" || kernels === hub.fingerprint)) {
    const transport = new HttpTransport({
      base: new URL("pushpals/api/", page.base), fetch: page.fetch, kind: "jupyter-proxy", share: true,
    });
    return { transport, capabilities: { decide: hub.decisions }, dispose: () => transport.dispose() };
  }
  const comm = new CommFetch(model, { onWaiting });
  const transport = new CommTransport(comm);
  return {
    transport,
    // What a notebook's token may not do is not offered.
    capabilities: { decide: false, manage: false },
    dispose: () => {
      transport.dispose();
      comm.dispose();
    },
  };
}

export class CommTransport extends HttpTransport {
  constructor(comm: CommFetch) {
    super({ base: COMM_BASE, fetch: comm.fetch, kind: "comm" });
  }

  override request<T>(method: Method, path: string, body?: unknown, options: RequestOptions = {}): Promise<T> {
    return super.request<T>(method, path, body, { ...options, timeoutMs: options.timeoutMs ?? PATIENCE_MS });
  }

  override bytes(path: string, options: RequestOptions = {}): Promise<Uint8Array> {
    return super.bytes(path, { ...options, timeoutMs: options.timeoutMs ?? PATIENCE_MS });
  }
}
