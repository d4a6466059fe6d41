// The page: what a person does, and what is shown. Who answers is the engine's business (engine.js).
// It writes no HTML, only text: names of classes may be anything.

import { Camera } from "./camera.js";
import { Engine } from "./engine.js";
import { drawMap } from "./heat.js";

const TOP = 5; // classes
const REST_MS = 100; // between two frames of the camera
const SPOKEN_MS = 2000; // between two answers that are read out while the camera runs
const find = (id) => document.getElementById(id);

const engine = new Engine();
const camera = new Camera(find("video"), (reason) => { showCamera(); tell(reason); });
let info = null; // what the engine says of its network
let ready = start();
let asked = 0; // pictures so far: an older answer never replaces a newer one
let last = null; // the picture that was asked last, for another model or with a token
let shown = null; // {row, width, height} of what is on the screen
let mapped = null; // the class whose map is shown; "" of the likeliest
let spoken = { text: "", at: -Infinity };

// ---- words

function percent(fraction) {
  if (fraction >= 0.99995 && fraction < 1) return "> 99.99 %";
  if (fraction > 0 && fraction < 0.00005) return "< 0.01 %";
  return `${(100 * fraction).toFixed(2)} %`;
}

function verdictOf(row) {
  if (row.known && !row.known.is_known) return "Unknown";
  if (!row.labels) return row.predictions[0].name;
  return row.labels.map((each) => each.name).join(", ") || "None of the labels";
}

function tell(problem) {
  find("problem").textContent = problem;
  find("problem").hidden = !problem;
}

function say(text) { // to a screen reader; the camera's answers not more often than anyone can listen
  const now = performance.now();
  if (text === spoken.text || (camera.isOn && now - spoken.at < SPOKEN_MS)) return;
  spoken = { text, at: now };
  find("said").textContent = text;
}

// ---- an answer

function show(row, width, height) {
  shown = { row, width, height };
  tell("");
  const isUnknown = Boolean(row.known && !row.known.is_known);
  const verdict = verdictOf(row);
  find("verdict").textContent = verdict;
  find("verdict").classList.toggle("unknown", isUnknown);
  find("why-unknown").textContent = isUnknown
    ? `Unlike the pictures that were learned from, of which at most ${percent(row.known.p_value)} are as strange. The classes that come nearest:` : "";
  find("why-unknown").hidden = !isUnknown;
  const said = new Set(isUnknown ? [] : (row.labels ?? row.predictions.slice(0, 1)).map((each) => each.class));
  const top = row.predictions.slice(0, TOP);
  const lines = find("answer").children;
  while (lines.length > top.length) find("answer").lastElementChild.remove();
  while (lines.length < top.length) find("answer").append(makeLine());
  top.forEach((each, place) => fillLine(lines[place], each, said.has(each.class)));
  for (const id of ["verdict", "answer"]) find(id).hidden = false;
  find("answer").classList.toggle("unknown", isUnknown);
  find("tools").hidden = !row.maps;
  const first = top.filter((each) => said.has(each.class)).map((each) => `${each.name} ${percent(each.probability)}`);
  say(first.join(", ") || verdict);
  showMap();
}

function makeLine() {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "line";
  for (const name of ["name", "bar", "percent"]) {
    const part = document.createElement("span");
    part.className = name;
    button.append(part);
  }
  const [, bar] = button.children;
  bar.append(document.createElement("span"), document.createElement("i"));
  bar.setAttribute("aria-hidden", "true");
  button.addEventListener("click", () => {
    mapped = isMapped(button.dataset.class) ? null : button.dataset.class;
    showMap();
  });
  line.append(button);
  return line;
}

function fillLine(line, { class: className, name, probability }, isSaid) {
  const [button] = line.children;
  const [label, bar, share] = button.children;
  button.dataset.class = className;
  button.disabled = !info.hasMaps;
  button.classList.toggle("said", isSaid);
  label.textContent = name;
  bar.firstElementChild.style.width = `${100 * probability}%`;
  share.textContent = percent(probability);
  const { threshold } = info.classes.find((each) => each.class === className);
  bar.lastElementChild.hidden = threshold === undefined;
  if (threshold !== undefined) bar.lastElementChild.style.left = `${100 * threshold}%`;
}

function clearAnswer() {
  shown = null;
  for (const id of ["verdict", "why-unknown", "answer", "tools", "map", "legend"]) find(id).hidden = true;
  find("look").classList.remove("mapped");
}

// ---- the map of a class

const isMapped = (name) => mapped === name || (mapped === "" && shown?.row.predictions[0].class === name);

function showMap() {
  const isOn = mapped !== null && Boolean(shown?.row.maps);
  find("look").classList.toggle("mapped", isOn);
  find("map").hidden = find("legend").hidden = !isOn;
  find("show-map").setAttribute("aria-pressed", isOn);
  for (const { firstElementChild: button } of find("answer").children) {
    if (info.hasMaps) button.setAttribute("aria-pressed", isOn && isMapped(button.dataset.class));
  }
  if (!isOn) return;
  const name = mapped || shown.row.predictions[0].class;
  drawMap(find("map"), shown.row.maps, info.classes.findIndex((each) => each.class === name), shown.width, shown.height);
}

// ---- pictures

async function ask(picture, width, height) {
  const number = ++asked;
  find("result").setAttribute("aria-busy", "true");
  try {
    await ready;
    if (number !== asked) return;
    const row = await engine.ask(picture);
    if (number !== asked) return;
    find("ask-token").hidden = true;
    show(row, width ?? find("picture").naturalWidth, height ?? find("picture").naturalHeight);
  } catch (error) {
    if (number !== asked) return;
    if (!camera.isOn) clearAnswer();
    if (error.wantsToken) askToken();
    tell(error.message);
  } finally {
    if (number === asked) find("result").setAttribute("aria-busy", "false");
  }
}

async function showPicture(file) {
  stopCamera();
  clearAnswer();
  tell("");
  last = file;
  spoken = { text: "", at: -Infinity }; // the same answer of another picture is news
  find("said").textContent = "";
  const image = find("picture");
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.alt = file.name || "The pasted picture";
  image.hidden = false;
  showView();
  const isSeen = await image.decode().then(() => true, () => false);
  if (last !== file) return;
  image.hidden = !isSeen; // a server may read what a browser cannot show
  showView();
  await ask(file);
}

function take(files) {
  const file = [...files].find((each) => each.type.startsWith("image/")) ?? files[0];
  if (file) showPicture(file);
}

function showView() {
  const isFull = !find("picture").hidden || !find("video").hidden;
  find("view").hidden = !isFull;
  find("hint").hidden = isFull;
  find("look").classList.toggle("full", isFull);
}

// ---- the camera

function showCamera() {
  const { isOn } = camera;
  find("camera").setAttribute("aria-pressed", isOn);
  find("camera").textContent = isOn ? "Stop camera" : "Camera";
  find("video").hidden = find("hold").hidden = !isOn;
  find("choose").hidden = isOn;
  if (isOn) find("picture").hidden = true;
  else find("switch").hidden = true;
  find("look").classList.toggle("mirrored", isOn && camera.facesUser);
  if (!isOn) clearAnswer();
  showView();
}

function stopCamera() {
  if (!camera.isOn) return;
  asked += 1; // the answer that is still to come is of no picture on the screen
  camera.stop();
  showCamera();
}

async function useCamera(begin) {
  for (const id of ["camera", "switch"]) find(id).disabled = true;
  tell("");
  clearAnswer();
  try {
    await begin();
    last = null;
    showCamera();
    find("switch").hidden = (await camera.list()).length < 2;
    watch(find("video").srcObject);
  } catch (error) {
    stopCamera();
    showCamera();
    tell(error.message);
  } finally {
    for (const id of ["camera", "switch"]) find(id).disabled = false;
  }
}

async function watch(stream) {
  const video = find("video");
  const isMine = () => camera.isOn && video.srcObject === stream;
  while (isMine()) {
    if (video.videoWidth) {
      const [width, height] = [video.videoWidth, video.videoHeight];
      await ready.catch(() => {});
      const frame = await engine.grab(video).catch(() => null);
      if (!isMine()) return frame?.close?.();
      if (frame) await ask(frame, width, height);
    }
    await new Promise((done) => setTimeout(done, REST_MS));
  }
}

function hold() { // what the camera shows now becomes a picture
  const video = find("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => blob && showPicture(new File([blob], "From the camera", { type: blob.type })), "image/png");
}

// ---- the network

async function start() {
  find("loading").hidden = false;
  try {
    info = await engine.start(report);
    if (info.title) document.title = find("title").textContent = info.title;
    const { models } = info;
    find("model").replaceChildren(...models.map((name) => new Option(name, name, false, name === engine.model)));
    find("models").hidden = models.length < 2;
    find("offline").hidden = !document.documentElement.hasAttribute("data-offline");
    find("programs").hidden = !engine.programs;
    if (engine.programs) find("programs").href = engine.programs;
    find("licences").hidden = !info.hasLicences;
  } catch (error) {
    if (error.wantsToken) askToken();
    tell(error.message);
    throw error;
  } finally {
    find("loading").hidden = true;
  }
}

function report(done, total) {
  find("progress").max = total;
  find("progress").value = done;
  find("loading-text").textContent = `Loading the network: ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`;
}

function askToken() {
  find("ask-token").hidden = false;
  find("token").focus();
}

// ---- what a person does

find("choose").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
find("camera").addEventListener("click", () => (camera.isOn ? (stopCamera(), tell("")) : useCamera(() => camera.start())));
find("switch").addEventListener("click", () => useCamera(() => camera.next()));
find("hold").addEventListener("click", hold);
find("show-map").addEventListener("click", () => {
  mapped = mapped === null ? "" : null;
  showMap();
});
find("model").addEventListener("change", (event) => {
  Object.assign(info, engine.choose(event.target.value));
  if (last) ask(last);
});
find("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  engine.token = find("token").value;
  tell("");
  ready = start();
  ready.catch(() => {});
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
document.addEventListener("update", ({ detail }) => {
  find("take-update").onclick = detail;
  find("update").hidden = false;
});
window.addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  find("install").hidden = false;
  find("install").onclick = () => event.prompt();
});
window.addEventListener("appinstalled", () => { find("install").hidden = true; });
find("where").textContent = engine.note;
ready.catch(() => {});
