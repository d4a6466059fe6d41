// The camera: on, off, another one. It goes off by itself where nobody sees the page.

const WANTED = { width: { ideal: 1280 }, height: { ideal: 720 } }; // px: more is thrown away, and takes time

const REASONS = {
  NotAllowedError: "The camera is not allowed here: allow it in the browser's settings for this page.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program: close that one.",
};

export class Camera {
  #stream = null;

  /** `onEnd(reason)` is called when it went off by itself. */
  constructor(video, onEnd) {
    this.video = video;
    this.onEnd = onEnd;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.isOn) this.#end("The camera went off while the page was hidden.");
    });
  }

  get isOn() {
    return this.#stream !== null;
  }

  /** Say whether it looks at whoever holds the phone: people expect a mirror then. */
  get facesUser() {
    return this.#stream?.getVideoTracks()[0].getSettings().facingMode === "user";
  }

  /** Switch it on; raises an Error with a sentence. */
  async start(wanted = { facingMode: { ideal: "environment" } }) {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give the camera only to pages from https or from this very machine: open the page there.");
    }
    this.stop();
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...wanted }, audio: false });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera cannot be used (${error.name}).`);
    }
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.#stream === stream && this.#end("The camera was unplugged or switched off."));
    this.video.srcObject = stream;
    await this.video.play();
  }

  /** Return the cameras that there are; their number is known once one has been allowed. */
  async list() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((each) => each.kind === "videoinput");
  }

  /** Switch to the next one. */
  async next() {
    const own = this.#stream?.getVideoTracks()[0].getSettings().deviceId;
    const all = await this.list();
    const place = all.findIndex((each) => each.deviceId === own);
    await this.start({ deviceId: { exact: all[(place + 1) % all.length].deviceId } });
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
  }

  #end(reason) {
    this.stop();
    this.onEnd(reason);
  }
}
