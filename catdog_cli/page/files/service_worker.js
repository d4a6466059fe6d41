// Keeps a page's files for use offline. `catdog export --to web` writes in front of this: VERSION, which changes with the
// content of any file, and FILES: [path, bytes, SHA-256 in base64].

const NAME = `catdog ${self.registration.scope} ${VERSION}`;
const isOld = (name) => name.startsWith(`catdog ${self.registration.scope} `) && name !== NAME;

self.addEventListener("install", (event) => event.waitUntil(keepAll()));

async function keepAll() {
  const cache = await caches.open(NAME);
  const total = FILES.reduce((sum, [, bytes]) => sum + bytes, 0);
  let done = 0;
  for (const [path, bytes, digest] of FILES) {
    const request = new Request(path, { integrity: `sha256-${digest}`, cache: "no-cache" });
    const answer = await fetch(request);
    if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
    await cache.put(path, await withoutRedirect(answer));
    done += bytes;
    const pages = await self.clients.matchAll({ includeUncontrolled: true });
    for (const page of pages) page.postMessage({ done, total });
  }
}

async function withoutRedirect(answer) { // which a browser would refuse for a page
  return answer.redirected ? new Response(await answer.blob(), { headers: answer.headers }) : answer;
}

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of (await caches.keys()).filter(isOld)) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener("message", (event) => event.data === "take over" && self.skipWaiting());

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(NAME);
  const own = request.mode === "navigate" && request.url.startsWith(self.registration.scope);
  const kept = await cache.match(request, { ignoreSearch: true });
  return kept ?? (own ? await cache.match("./") : undefined) ?? fetch(request);
}
