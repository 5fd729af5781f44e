/** The diff of a change, fetched once, checked against its digest, taken apart. */
import { parseDiff, type DiffFile, type SessionStore } from "@pushpals/core";
import { useEffect, useState } from "preact/hooks";

export type Patch =
  | { readonly state: "loading" }
  | { readonly state: "there"; readonly files: readonly DiffFile[] }
  | { readonly state: "missing"; readonly why: string };

const KEEP = 12;
const cache = new Map<string, readonly DiffFile[]>();

export async function loadPatch(store: SessionStore, sha256: string, signal?: AbortSignal): Promise<readonly DiffFile[]> {
  const known = cache.get(sha256);
  if (known) return known;
  const bytes = await store.transport.bytes(`artifacts/${sha256}`, signal ? { signal } : {});
  // Only secure contexts can hash; there the words and the bytes are bound to each other.
  if (crypto.subtle !== undefined) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hex !== sha256) throw new Error("the bytes that came are not the ones that were asked for");
  }
  const files = parseDiff(new TextDecoder().decode(bytes));
  cache.set(sha256, files);
  if (cache.size > KEEP) cache.delete(cache.keys().next().value!);
  return files;
}

/** The patch with this digest, or the text of one that an event carried. */
export function usePatch(store: SessionStore, sha256: string | null | undefined, text?: string | null): Patch {
  const [found, setFound] = useState<{ of: string; patch: Patch } | null>(null);
  const of = sha256 ?? (text ? `text ${text.length} ${text.slice(0, 200)}` : "");
  useEffect(() => {
    const stop = new AbortController();
    const set = (patch: Patch): void => {
      if (!stop.signal.aborted) setFound({ of, patch });
    };
    if (sha256) {
      loadPatch(store, sha256, stop.signal).then(
        (files) => set({ state: "there", files }),
        (error: unknown) => set({ state: "missing", why: error instanceof Error ? error.message : String(error) }),
      );
    } else if (text) {
      set({ state: "there", files: parseDiff(text) });
    } else {
      set({ state: "missing", why: "no diff was stored with it" });
    }
    return () => stop.abort();
  }, [store, of]);
  return found?.of === of ? found.patch : { state: "loading" };
}
