// The engine of a page that `catdog serve` shows: the service answers. See engine.js.

const FRAME_QUALITY = 0.95; // of a camera's picture as JPEG

export class Engine {
  note = "Pictures go to this server, which keeps none.";
  programs = "docs";
  token = "";
  model = "";

  async start() {
    const found = await this.#fetch("model", {});
    this.models = found.models;
    this.model ||= found.default;
    return { title: "", models: found.models.map((each) => each.name), ...this.#describe() };
  }

  choose(model) {
    this.model = model;
    return this.#describe();
  }

  #describe() {
    return { classes: this.models.find((each) => each.name === this.model).classes, hasMaps: false };
  }

  grab(video) {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", FRAME_QUALITY));
  }

  async ask(picture) {
    const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
    const path = `predict?model=${encodeURIComponent(this.model)}`;
    const [row] = await this.#fetch(path, { method: "POST", body: picture, headers: { "Content-Type": type } });
    if (row.status !== "ok") throw new Error(row.error);
    return row;
  }

  async #fetch(path, options) {
    const headers = { ...options.headers, ...(this.token && { Authorization: `Bearer ${this.token}` }) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("The server does not answer.");
    }
    const found = await answer.json();
    if (answer.status === 401) {
      throw Object.assign(new Error(this.token ? "This is not the token: type it again." : ""), { wantsToken: true });
    }
    if (!Array.isArray(found) && !answer.ok) throw new Error(found.error);
    return found;
  }
}
