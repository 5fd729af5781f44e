/**
 * Keeps the shell of the page, so that it opens on a bad link and says "offline" itself.
 *
 * Only the page and its own files are kept, newest first: the network answers when it can, the store when it
 * cannot. Nothing of the API passes through here.
 */
/// <reference lib="webworker" />
export {};
const scope = globalThis as unknown as ServiceWorkerGlobalScope;
const SHELL = "pushpals-shell-1";
const here = new URL(scope.registration.scope);

scope.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(SHELL).then((cache) => cache.addAll(["./", "page/app.js", "page/app.css", "page/icon.svg"].map((path) => new URL(path, here).href)))
      .then(() => scope.skipWaiting()),
  );
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter((name) => name !== SHELL).map((name) => caches.delete(name))))
      .then(() => scope.clients.claim()),
  );
});

scope.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const inside = url.origin === here.origin && url.pathname.startsWith(here.pathname);
  const path = url.pathname.slice(here.pathname.length);
  if (event.request.method !== "GET" || !inside || !(path === "" || path.startsWith("page/"))) return;
  event.respondWith(
    fetch(event.request).then(async (answer) => {
      if (answer.ok) await (await caches.open(SHELL)).put(new URL(url.pathname, here).href, answer.clone());
      return answer;
    }).catch(async (error: unknown) => {
      const kept = await caches.match(new URL(url.pathname, here).href);
      if (kept) return kept;
      throw error;
    }),
  );
});
