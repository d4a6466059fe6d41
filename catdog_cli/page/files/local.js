// The engine of a page that answers by itself: the network runs in a worker. See engine.js.

import { prepareOffline } from "./offline.js";

export class Engine {
  note = "Pictures stay on this device.";

  /** Load the network; `report(done, total)` is called with bytes. Return what the page shows of it: model.json. */
  async start(report) {
    const answer = await fetch("model.json");
    if (!answer.ok) throw new Error("This page is not complete: export it again.");
    this.about = await answer.json();
    await prepareOffline(report);
    await this.#startWorker(report);
    return { title: this.about.title, models: [], classes: this.about.classes, hasMaps: Boolean(this.about.maps), hasLicences: true };
  }

  /** Return the frame that a video shows, as `ask` takes it. */
  grab(video) {
    return createImageBitmap(video);
  }

  /** Return the row of a picture (a Blob, or what `grab` gave). Raises an Error with a sentence for people. */
  async ask(picture) {
    if (!this.worker) await this.#startWorker(() => {});
    return this.#send("ask", picture, picture instanceof ImageBitmap ? [picture] : []);
  }

  #startWorker(report) {
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => (data.total ? report(data.progress, data.total) : this.#receive(data));
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.#stop("The network stopped: load the page again.");
    };
    return this.#send("start", this.about, []);
  }

  #send(kind, given, moved) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, given }, moved);
    });
  }

  #receive({ id, row, error, isOfPicture, isFatal }) {
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) resolve(row);
    else reject(new Error(isOfPicture ? error : `The network cannot be run here (${error}): load the page again.`));
    if (isFatal) this.#stop("The network ran out of memory: try again.");
  }

  #stop(reason) {
    this.worker.terminate();
    this.worker = null; // the next picture starts another one
    for (const { reject } of this.waiting.values()) reject(new Error(reason));
  }
}
