"use strict";
// The page of `catdog data review`: shows one case at a time and sends decisions. It writes no HTML, only text.

const KEYS = 9; // classes that have a digit
const at = (id) => document.getElementById(id);
let state = null; // what /state answered
let lists = []; // the groups, and last what a cell of the confusion matrix holds
let where = { list: 0, place: 0, picture: 0 };
let toggled = null; // labels that are switched on, where pictures have several
let busy = false;

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const list = () => lists[where.list];
const theCase = () => list().cases[where.place];
const number = () => theCase()?.pictures[where.picture];
const picture = () => state.pictures[number()];
const isDone = (each) => each.pictures.every((one) => state.pictures[one].decision);
const percent = (share) => (share > 0.9995 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`);

// ---- talking to catdog

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("catdog no longer answers: start catdog data review again. What was decided until now is kept.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function tell(problem) {
  at("problem").textContent = problem;
  at("problem").hidden = !problem;
}

async function send(path, body) { // one at a time: a second key while the first is on its way does nothing
  if (busy) return null;
  busy = true;
  try {
    const found = await ask(path, body);
    Object.assign(state.pictures, found.pictures);
    state.classes = found.classes;
    tell("");
    return found;
  } catch (error) {
    tell(error.message);
    return null;
  } finally {
    busy = false;
  }
}

// ---- deciding

async function decide(decision, labels = []) {
  if (number() === undefined) return false;
  const found = await send("decide", { picture: number(), decision, labels });
  if (found) advance();
  return Boolean(found);
}

function choose(name) { // a class's key or button
  if (!state.several) return decide(picture().labels[0] === name ? "right" : "wrong", [name]);
  if (toggled.has(name)) toggled.delete(name); else toggled.add(name);
  return drawActions();
}

function confirmLabels() {
  const own = picture().labels;
  const same = !state.several || (own.length === toggled.size && own.every((name) => toggled.has(name)));
  return decide(same ? "right" : "wrong", same ? [] : [...toggled]);
}

async function undo() {
  const found = await send("undo", {});
  if (!found) return;
  if (found.picture === null) return tell("There is nothing to take back.");
  const holds = (each) => each.cases?.some((one) => one.pictures.includes(found.picture));
  const target = holds(list()) ? where.list : lists.findIndex(holds);
  if (target < 0) return draw(); // it was in a cell of the matrix that is no longer shown
  const place = lists[target].cases.findIndex((one) => one.pictures.includes(found.picture));
  go(target, place, lists[target].cases[place].pictures.indexOf(found.picture));
}

// ---- moving

function go(target, place, chosen = 0) {
  where = { list: target, place, picture: chosen };
  toggled = picture() ? new Set(picture().decision === "wrong" ? picture().new : picture().labels) : null;
  draw();
  at("view").focus({ preventScroll: true }); // so that Enter means Right, whatever was clicked before
}

function advance() { // to the next picture of this case, then to the next case that nobody has looked at
  const inCase = theCase().pictures.findIndex((one) => !state.pictures[one].decision);
  if (inCase >= 0) return go(where.list, where.place, inCase);
  const cases = list().cases;
  const after = cases.findIndex((each, index) => index > where.place && !isDone(each));
  const left = after >= 0 ? after : cases.findIndex((each) => !isDone(each));
  return go(where.list, left >= 0 ? left : cases.length);
}

function step(by) {
  const place = Math.min(list().cases.length, Math.max(0, where.place + by));
  if (place !== where.place) go(where.list, place);
}

function pick(by) {
  const count = theCase()?.pictures.length ?? 0;
  if (count > 1) go(where.list, where.place, (where.picture + by + count) % count);
}

function open(target) {
  const cases = lists[target].cases ?? [];
  const first = cases.findIndex((each) => !isDone(each));
  go(target, first >= 0 ? first : 0);
}

async function openCell(row, column) {
  try {
    const found = await ask(`cell?row=${row}&column=${column}`);
    state.pictures = { ...found.pictures, ...state.pictures };
    const cell = lists[lists.length - 1];
    cell.cases = found.cases;
    cell.cell = [row, column];
    tell("");
    open(lists.length - 1);
  } catch (error) {
    tell(error.message);
  }
}

// ---- drawing

function draw() {
  drawTabs();
  drawMatrix();
  const shown = theCase();
  at("why").textContent = shown?.why ?? "";
  at("pictures").replaceChildren(...(shown?.pictures ?? []).map(drawPicture));
  at("actions").hidden = false;
  for (const id of ["right", "other", "exclude"]) at(id).disabled = !shown;
  drawEnd(shown);
  if (shown) drawActions(); else at("classes").replaceChildren();
  drawProgress();
  for (const one of list().cases[where.place + 1]?.pictures ?? []) new Image().src = `image/${one}`;
}

function drawTabs() {
  at("tabs").replaceChildren(...lists.map((each, index) => {
    const tab = make("button", each.title, {
      type: "button", role: "tab", "aria-selected": String(index === where.list), "aria-controls": "view",
    });
    const left = each.matrix ? "" : String(each.cases.filter((one) => !isDone(one)).length);
    if (left) tab.append(make("span", left, { class: "count", title: "still to look at" }));
    tab.addEventListener("click", () => open(index));
    return tab;
  }));
}

function drawPicture(one, index) {
  const shown = state.pictures[one];
  const several = theCase().pictures.length > 1;
  const figure = make("figure", undefined, { "data-picture": one });
  if (several) figure.classList.add("several");
  if (several && index === where.picture) figure.classList.add("chosen");
  if (several) figure.addEventListener("click", () => go(where.list, where.place, index));
  const image = make("img", undefined, { src: `image/${one}`, alt: `The picture ${shown.path}` });
  image.addEventListener("error", () => image.replaceWith(make("p", "This picture cannot be shown.", { class: "broken" })));
  figure.append(image, drawCaption(shown));
  return figure;
}

function drawCaption(shown) {
  const caption = make("figcaption");
  const label = make("div", `Label: ${shown.labels.join(", ") || "none"}`, { class: "label" });
  const words = { right: "right", exclude: "left out", wrong: `is ${shown.new.join(", ") || "none of them"}` };
  if (shown.decision) label.append(make("span", words[shown.decision], { class: `mark ${shown.decision}` }));
  const said = make("div", undefined, { class: "said", role: "group", "aria-label": "What the checkpoint says" });
  for (const [name, share] of shown.said.slice(0, state.several ? KEYS : 3)) {
    said.append(make("span", name), make("meter", undefined, { value: share, "aria-label": name }), make("span", percent(share)));
  }
  const heading = make("div", shown.said.length ? "The checkpoint says" : "", { class: "note" });
  const split = shown.split === "all" ? "" : `, ${shown.split}`;
  caption.append(label, heading, said, make("div", `${shown.path}${split}`, { class: "path" }));
  return caption;
}

function keyedClasses() { // all, or the label's own and the likeliest where there are more than digits
  if (state.classes.length <= KEYS) return state.classes;
  const likely = [...picture().labels, ...picture().new, ...picture().said.map(([name]) => name), ...state.classes];
  return [...new Set(likely)].slice(0, KEYS);
}

function drawActions() {
  at("classes").replaceChildren(...keyedClasses().map((name, index) => {
    const button = make("button", undefined, { type: "button" });
    if (state.several) button.setAttribute("aria-pressed", String(toggled.has(name)));
    button.append(make("kbd", String(index + 1)), ` ${name}`);
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  at("right").querySelector("span").textContent = state.several ? "These labels" : "Right";
  at("other").querySelector("span").textContent = state.several ? "Other label" : "Other class";
}

function drawMatrix() {
  const shown = Boolean(list().matrix);
  at("matrix").hidden = !shown;
  if (!shown) return;
  const { rows, columns, counts } = state.confusion;
  const table = make("table", undefined, { "aria-labelledby": "matrix-title" });
  const title = make("p", state.several
    ? "Labels that the checkpoint misses, or says wrongly. Choose a number to see its pictures."
    : "Label by row, what the checkpoint says by column. Choose a number to see its pictures.", { id: "matrix-title" });
  const head = make("tr");
  head.append(make("td"), ...columns.map((name) => make("th", name, { scope: "col" })));
  table.append(make("thead"));
  table.tHead.append(head);
  const body = table.createTBody();
  rows.forEach((name, row) => {
    const line = body.insertRow();
    line.append(make("th", name, { scope: "row" }));
    columns.forEach((said, column) => {
      const cell = line.insertCell();
      if (said === name) cell.className = "same";
      if (!counts[row][column]) return cell.append("0");
      const chosen = list().cell?.[0] === row && list().cell?.[1] === column;
      const button = make("button", String(counts[row][column]), {
        type: "button", "aria-label": `${counts[row][column]} of ${name}: ${said}`, "aria-pressed": String(chosen),
      });
      button.addEventListener("click", () => openCell(row, column));
      return cell.append(button);
    });
  });
  at("matrix").replaceChildren(title, table);
}

function drawEnd(shown) {
  at("end").hidden = Boolean(shown) || (list().matrix && !list().cell);
  if (!list().cases.length) at("end").textContent = list().matrix ? "" : "There is nothing to look at here.";
  else at("end").textContent =
    "That was the last one. Choose another group above, or end with Ctrl-C in the terminal, which says how to train with these decisions.";
}

function drawProgress() {
  const { cases, total } = list();
  const decided = [...new Set(cases.flatMap((each) => each.pictures))].map((one) => state.pictures[one].decision);
  const changed = decided.filter((one) => one === "wrong" || one === "exclude").length;
  const first = total > cases.length ? ` (the first of ${total})` : "";
  at("progress").textContent = cases.length
    ? `${cases.filter(isDone).length} of ${cases.length}${first} looked at, ${changed} changed` : "";
}

// ---- dialogs and keys

function askName() {
  at("known").replaceChildren(...state.classes.map((name) => make("option", undefined, { value: name })));
  at("typed").value = "";
  at("name-problem").textContent = "";
  at("name").showModal();
}

async function takeName() {
  const name = at("typed").value.trim();
  if (!name) return;
  if (state.several) {
    if (!state.classes.includes(name)) state.classes.push(name);
    toggled.add(name);
    at("name").close();
    drawActions();
  } else if (await decide("wrong", [name])) {
    at("name").close();
  } else {
    at("name-problem").textContent = at("problem").textContent;
  }
}

const COMMANDS = {
  Enter: confirmLabels,
  x: () => decide("exclude"),
  u: undo,
  n: askName,
  "?": () => at("keys").showModal(),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => pick(-1),
  ArrowDown: () => pick(1),
  "[": () => open((where.list + lists.length - 1) % lists.length),
  "]": () => open((where.list + 1) % lists.length),
};
const NEED_A_PICTURE = new Set(["Enter", "x", "n", "ArrowUp", "ArrowDown"]);

function onKey(event) {
  const typing = event.target.matches("input") || document.querySelector("dialog[open]");
  const pressing = event.target.matches("button") && (event.key === "Enter" || event.key === " ");
  if (!state || typing || pressing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const digit = /^[1-9]$/.test(event.key) && theCase() ? keyedClasses()[Number(event.key) - 1] : undefined;
  const command = COMMANDS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (digit === undefined && (!command || (NEED_A_PICTURE.has(event.key) && !theCase()))) return;
  if (event.key.startsWith("Arrow") && !theCase() && !list().cases.length) return;
  event.preventDefault();
  if (digit !== undefined) choose(digit); else command();
}

function listen() {
  const buttons = { right: "Enter", exclude: "x", undo: "u", other: "n", back: "ArrowLeft", next: "ArrowRight", help: "?" };
  for (const [id, key] of Object.entries(buttons)) at(id).addEventListener("click", () => COMMANDS[key]());
  at("close-keys").addEventListener("click", () => at("keys").close());
  at("close-name").addEventListener("click", () => at("name").close());
  at("take-name").addEventListener("click", takeName);
  at("typed").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); takeName(); }
  });
  document.addEventListener("keydown", onKey);
}

async function start() {
  try {
    state = await ask("state");
  } catch (error) {
    return tell(error.message);
  }
  at("data").textContent = state.data;
  at("output").textContent = state.output;
  if (state.several) {
    at("enter-does").textContent = "the labels that are switched on are right";
    at("digits-do").textContent = "switch this label on or off";
  }
  lists = [...state.groups, { title: state.several ? "Labels missed or too many" : "Confusion matrix", matrix: true, cases: [] }];
  listen();
  const first = lists.findIndex((each) => each.cases.some((one) => !isDone(one)));
  open(Math.max(0, first));
}

start();
