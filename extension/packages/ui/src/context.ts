/** What every component needs: the store, the words, the rights, and where to go. */
import type { SessionStore, StoreState } from "@pushpals/core";
import { createContext } from "preact";
import { useCallback, useContext, useEffect, useReducer, useState } from "preact/hooks";
import type { Capabilities, Place } from "./mount.js";
import type { Strings } from "./strings.js";

export interface Console {
  readonly store: SessionStore;
  readonly state: StoreState;
  readonly s: Strings;
  readonly may: Capabilities;
  readonly device: string;
  readonly show: (place: Place, id?: string) => void;
  /** Keeps drafts and review comments over a reload; may do nothing. */
  readonly shelf: Storage | null;
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console {
  const found = useContext(ConsoleContext);
  if (found === null) throw new Error("a console component outside of mount()");
  return found;
}

/** The store's state, drawn again when it changes. */
export function useStoreState(store: SessionStore): StoreState {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => store.subscribe(() => draw(0)), [store]);
  return store.get();
}

/** An action of a person: whether it runs, and why it did not work. */
export function useAction(): { busy: boolean; problem: string | null; run: (action: () => Promise<unknown>) => Promise<boolean> } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const run = useCallback(async (action: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(null);
    try {
      await action();
      return true;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      return false;
    } finally {
      setBusy(false);
    }
  }, []);
  return { busy, problem, run };
}

/** Draws again every `ms`, for clocks. A hidden page draws nothing. */
export function useClock(ms: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}
