"use strict";

function make(kind, text, ...children) {
  const element = document.createElement(kind);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function row(name, text) {
  return make("tr", "", make("th", "", make("code", name)), make("td", text));
}

function describe(path, method, operation) {
  const parts = [make("h2", `${method.toUpperCase()} ${path}`), make("p", operation.summary + ".")];
  if (operation.description) parts.push(make("p", operation.description));
  if (operation.parameters) {
    parts.push(make("table", "", ...operation.parameters.map((each) => row(`?${each.name}=${each.schema.default}`, each.description))));
  }
  if (operation.requestBody) parts.push(make("p", `Body: ${Object.keys(operation.requestBody.content).join(", ")}`));
  parts.push(make("table", "", ...Object.entries(operation.responses).map(([status, each]) => row(status, each.description))));
  return make("section", "", ...parts);
}

async function load() {
  const api = await (await fetch("openapi.json")).json();
  document.getElementById("about").textContent = `catdog ${api.info.version}. ${api.info.description}`;
  document.getElementById("example").textContent =
    `curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg ${location.origin}/predict`;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => describe(path, method, operation)));
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) =>
    make("details", "", make("summary", name), make("pre", "", make("code", JSON.stringify(schema, null, 2)))));
  document.getElementById("operations").replaceChildren(...operations, make("h2", "Documents"), ...schemas);
}

load();
