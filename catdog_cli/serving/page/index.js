"use strict";

const find = (id) => document.getElementById(id);
const PAUSE_MS = 100; // between two frames of the camera
let token = "";
let stream = null;
let asked = 0; // requests so far: an older answer never replaces a newer one
let last = null; // what was asked last, for another model or with a token

function make(kind, className, text) {
  const element = document.createElement(kind);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function percent(fraction) {
  if (fraction >= 0.99995 && fraction < 1) return "> 99.99 %";
  if (fraction > 0 && fraction < 0.00005) return "< 0.01 %";
  return `${(100 * fraction).toFixed(2)} %`;
}

function headers(more) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

function tell(problem) {
  find("problem").textContent = problem;
  find("problem").hidden = !problem;
}

function show(row) {
  const lines = [];
  const unknown = row.known && !row.known.is_known;
  if (unknown) lines.push(make("p", "wide unknown", `Unknown: unlike the pictures that it learned from (p = ${row.known.p_value.toPrecision(2)})`));
  if (row.labels && !row.labels.length) lines.push(make("p", "wide", "None of the labels."));
  row.predictions.forEach((each, place) => {
    const said = row.labels ? row.labels.some((label) => label.class === each.class) : place === 0;
    const bar = make("div", "bar");
    const filled = make("div", "");
    filled.style.width = `${100 * each.probability}%`;
    bar.append(filled);
    bar.setAttribute("aria-hidden", "true");
    lines.push(make("span", said && !unknown ? "first" : "", each.name), bar, make("span", "percent", percent(each.probability)));
  });
  find("answer").replaceChildren(...lines);
}

async function ask(picture) {
  const number = ++asked;
  last = picture;
  const model = find("model").value;
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  try {
    const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
    const answer = await fetch(`predict${query}`, { method: "POST", body: picture, headers: headers({ "Content-Type": type }) });
    const found = await answer.json();
    if (number !== asked) return;
    find("ask-token").hidden = answer.status !== 401;
    if (answer.status === 401) find("token").focus();
    const row = Array.isArray(found) ? found[0] : null;
    tell(row ? row.error || "" : found.error);
    if (row && row.status === "ok") show(row);
    else find("answer").replaceChildren();
  } catch (error) {
    if (number === asked) tell("The server does not answer.");
  }
}

function showPicture(picture) {
  stopCamera();
  const image = find("picture");
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(picture);
  image.alt = picture.name || "the pasted picture";
  image.hidden = false;
  find("hint").hidden = true;
  find("look").classList.add("full");
  find("answer").replaceChildren();
  ask(picture);
}

function take(files) {
  const picture = [...files].find((file) => file.type.startsWith("image/")) || files[0];
  if (picture) showPicture(picture);
}

function stopCamera() {
  if (!stream) return;
  stream.getTracks().forEach((track) => track.stop());
  stream = null;
  find("video").srcObject = null;
  find("video").hidden = true;
  find("hint").hidden = !find("picture").hidden;
  find("camera").setAttribute("aria-pressed", "false");
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    tell("A browser gives the camera only to pages from https or from this machine: start the server with --tls-cert and --tls-key.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    tell(`The camera cannot be used (${error.name}).`);
    return;
  }
  const video = find("video");
  video.srcObject = stream;
  video.hidden = false;
  find("picture").hidden = true;
  find("hint").hidden = true;
  find("look").classList.add("full");
  find("camera").setAttribute("aria-pressed", "true");
  await video.play();
  watch(stream);
}

async function watch(mine) {
  const video = find("video");
  const canvas = document.createElement("canvas");
  while (stream === mine) {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    if (canvas.width) {
      canvas.getContext("2d").drawImage(video, 0, 0);
      const frame = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
      if (stream !== mine) return;
      if (frame) await ask(frame);
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

async function listModels() {
  const answer = await fetch("model", { headers: headers({}) });
  if (!answer.ok) return;
  const found = await answer.json();
  const names = found.models.map((model) => model.name);
  find("model").replaceChildren(...names.map((name) => new Option(name, name, false, name === found.default)));
  find("models").hidden = names.length < 2;
}

find("choose").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
find("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
find("model").addEventListener("change", () => last && ask(last));
find("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("token").value;
  listModels();
  if (last) ask(last);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("look").classList.add("over");
});
document.addEventListener("dragleave", () => find("look").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("look").classList.remove("over");
  take(event.dataTransfer.files);
});
listModels().catch(() => tell("The server does not answer."));
