// What makes a page work without a network: its service worker. Absent where a browser allows none (http, private windows).

const PATIENCE_MS = 120_000;

/** Wait until all files are kept for use offline, or will not be; `report(done, total)` is called with bytes. */
export async function prepareOffline(report) {
  if (!("serviceWorker" in navigator)) return;
  try {
    navigator.serviceWorker.addEventListener("message", ({ data }) => data.total && report(data.done, data.total));
    const registration = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    offerUpdates(registration);
    await Promise.race([settled(registration), new Promise((done) => setTimeout(done, PATIENCE_MS))]);
  } catch {
    // without one the page works as long as there is a network
  }
  document.documentElement.toggleAttribute("data-offline", Boolean(navigator.serviceWorker.controller));
}

function settled(registration) {
  if (registration.active) return navigator.serviceWorker.ready;
  const worker = registration.installing ?? registration.waiting;
  return new Promise((done) => {
    navigator.serviceWorker.addEventListener("controllerchange", done);
    worker.addEventListener("statechange", () => worker.state === "redundant" && done());
  });
}

function offerUpdates(registration) { // an open page keeps its files: they belong together
  const offer = (worker) => {
    if (!worker || !navigator.serviceWorker.controller) return;
    document.dispatchEvent(new CustomEvent("update", { detail: () => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
      worker.postMessage("take over");
    } }));
  };
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker.addEventListener("statechange", () => worker.state === "installed" && offer(worker));
  });
}
