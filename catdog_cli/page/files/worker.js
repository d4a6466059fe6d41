// Runs the network, away from the page, which stays awake meanwhile. What it is asked and answers: see local.js.

import * as ort from "./ort/ort.wasm.min.js";
import { rowOf } from "./answer.js";
import { readPicture, readsTruly, toPixels } from "./pixels.js";
import { PictureError } from "./sniff.js";

const ORT = new URL("./ort/", import.meta.url).href;
let about = null; // model.json
let session = null;

async function start(given) {
  about = given;
  if (typeof OffscreenCanvas === "undefined" || typeof createImageBitmap === "undefined") {
    throw new PictureError("This browser is too old for this page: update it.");
  }
  if (!readsTruly()) {
    throw new PictureError("This browser changes what pages read of pictures, so answers would be wrong: allow this page to read canvases, or take another browser.");
  }
  ort.env.wasm.numThreads = 1; // more need headers that a folder of files cannot send
  ort.env.wasm.wasmPaths = { mjs: `${ORT}ort-wasm-simd-threaded.js`, wasm: `${ORT}ort-wasm-simd-threaded.wasm` };
  const model = await download(about.file, about.bytes);
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

async function download(name, total) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: HTTP ${answer.status}`);
  const content = new Uint8Array(total);
  let done = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    content.set(value, done); // raises where it is longer than it was
    done += value.length;
    self.postMessage({ progress: done, total });
  }
  if (done !== total) throw new Error(`${name} has ${done} bytes of ${total}`);
  return content;
}

async function ask(picture) {
  const read = picture instanceof Blob ? await readPicture(picture, about.side) : toPixels(picture);
  const images = new ort.Tensor("uint8", read.pixels, [1, read.height, read.width, 3]);
  let found;
  try {
    found = await session.run({ images });
  } catch (cause) {
    const error = new PictureError(`This picture has ${read.fullWidth} x ${read.fullHeight} px, too many for the memory of this browser: make it smaller.`, { cause });
    error.isFatal = true; // what ran out of memory is not used again
    throw error;
  }
  return rowOf(found, about, read);
}

self.onmessage = async ({ data: { id, kind, given } }) => {
  try {
    self.postMessage({ id, row: await (kind === "start" ? start(given) : ask(given)) });
  } catch (error) {
    self.postMessage({ id, error: error.message, isOfPicture: error instanceof PictureError, isFatal: Boolean(error.isFatal) });
  }
};
