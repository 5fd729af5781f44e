export * from "./protocol.gen.js";
export * from "./transport.js";
export * from "./reduce.js";
export * from "./history.js";
export * from "./http.js";
export * from "./sequence.js";
export { SILENCE_MS } from "./follow.js";
export type { SharingTools } from "./share.js";
