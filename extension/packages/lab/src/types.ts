import type { SessionStore } from "@pushpals/core";

export type { Place } from "@pushpals/ui";
export type SessionStoreLike = Pick<SessionStore, "get" | "needsYou" | "subscribe">;
