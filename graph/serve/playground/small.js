
"use strict";
const at = (id) => document.getElementById(id);
const tabs = JSON.parse(at("ready").textContent);
const kept = (name) => `ordergraph:${location.pathname}:${name}`;
let chosen = tabs[0], running = null;

// ---- tabs; what somebody wrote into one is kept in his browser

function load(name) {
  try { return JSON.parse(localStorage.getItem(kept(name))) || {}; } catch { return {}; }
}
function keep() {
  try {
    localStorage.setItem(kept(chosen.name), JSON.stringify({ query: at("query").value, variables: at("variables").value }));
  } catch { /* the browser keeps nothing */ }
}
function choose(tab) {
  chosen = tab;
  const own = load(tab.name);
  at("query").value = own.query ?? tab.query.replace(/^#.*\n/, "");
  at("variables").value = own.variables ?? "";
  at("about").textContent = tab.about;
  for (const button of at("tabs").children) {
    const selected = button.dataset.name === tab.name;
    button.setAttribute("aria-selected", selected);
    button.tabIndex = selected ? 0 : -1;
    if (selected) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  history.replaceState(null, "", `#${tab.name}`);
}
for (const tab of tabs) {
  const button = document.createElement("button");
  button.textContent = tab.title;
  button.dataset.name = tab.name;
  button.setAttribute("role", "tab");
  button.addEventListener("click", () => choose(tab));
  at("tabs").append(button);
}
at("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = (tabs.indexOf(chosen) + step + tabs.length) % tabs.length;
  choose(tabs[next]);
  at("tabs").children[next].focus();
});

// ---- which operation of a document is meant: the one the cursor stands in, else the first

function operations(text) {
  const found = [], word = /"""(?:[^"]|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|[{}()]|\b(query|mutation|subscription|fragment)\b\s*([_A-Za-z]\w*)?/g;
  let depth = 0;
  for (let match; (match = word.exec(text)); ) {
    if (match[0] === "{" || match[0] === "(") {
      if (depth === 0 && match[0] === "{" && (!found.length || found.at(-1).open)) found.push({ kind: "query", at: match.index, open: true });
      if (depth === 0 && match[0] === "{") found.at(-1).open = true;
      depth++;
    } else if (match[0] === "}" || match[0] === ")") depth--;
    else if (match[1] && depth === 0) found.push({ kind: match[1], name: match[2], at: match.index, open: false });
  }
  return found.filter((each) => each.kind !== "fragment");
}
function meant(text, cursor) {
  const all = operations(text);
  return { ...(all.filter((each) => each.at <= cursor).at(-1) ?? all[0] ?? { kind: "query" }), alone: all.length < 2 };
}

// ---- running

function read(id) {
  const text = at(id).value.trim();
  if (!text) return {};
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("it must be an object");
  return value;
}
function asked() {
  const query = at("query").value, operation = meant(query, at("query").selectionStart);
  const extensions = {};
  if (at("cost").checked) extensions.cost = true;
  if (at("explain").checked) extensions.explain = true;
  const payload = { query, variables: read("variables") };
  if (!operation.alone && operation.name) payload.operationName = operation.name;
  if (Object.keys(extensions).length) payload.extensions = extensions;
  return { kind: operation.kind, payload, headers: read("headers") };
}
function tell(text) { at("status").textContent = text; }
function show(answer) {
  at("answer").textContent = typeof answer === "string" ? answer : JSON.stringify(answer, null, 2);
  at("errors").replaceChildren(...refusals(answer).map((error) => {
    const line = document.createElement("li");
    for (const text of [error.code, error.path]) {
      if (!text) continue;
      const code = document.createElement("code");
      code.textContent = text;
      line.append(code);
    }
    line.append(error.message ?? "");
    return line;
  }));
}
/** Errors of the request, and those that mutations tell as data. */
function refusals(answer) {
  const paths = (path) => (Array.isArray(path) ? path.join(" › ") : "");
  const found = (answer?.errors ?? []).map((error) => ({
    code: error.extensions?.code, path: paths(error.extensions?.path ?? error.path), message: error.message,
  }));
  for (const payload of Object.values(answer?.data ?? {})) {
    for (const error of Array.isArray(payload?.errors) ? payload.errors : []) {
      found.push({ code: error.code, path: paths(error.path), message: error.message });
    }
  }
  return found;
}
function begin(stop) {
  running = { stop };
  at("run").textContent = "Stop";
}
function end() {
  running = null;
  at("run").textContent = "Run";
}
async function send({ payload, headers }) {
  const control = new AbortController(), began = performance.now();
  begin(() => control.abort());
  tell("Asking …");
  try {
    const response = await fetch(location.pathname, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/graphql-response+json, application/json;q=0.9", ...headers },
      body: JSON.stringify(payload),
      signal: control.signal,
    });
    const text = await response.text();
    const took = Math.round(performance.now() - began);
    let answer = text;
    try { answer = JSON.parse(text); } catch { /* of something in between */ }
    show(answer);
    const wrong = refusals(answer).length;
    tell(`${response.status}${wrong ? `, ${wrong} error${wrong > 1 ? "s" : ""}` : ""} in ${took} ms, ${text.length.toLocaleString("en")} characters`);
  } catch (error) {
    tell(error.name === "AbortError" ? "Stopped." : `No answer: ${error.message}`);
  }
  end();
}
function subscribe({ payload, headers }) {
  const address = new URL(location.pathname, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, "graphql-transport-ws"), events = [];
  let over = "";
  begin(() => { over = "Stopped."; socket.close(1000); });
  at("answer").textContent = "";
  at("errors").replaceChildren();
  tell("Connecting …");
  socket.onopen = () => socket.send(JSON.stringify({ type: "connection_init", payload: headers }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "connection_ack") {
      socket.send(JSON.stringify({ type: "subscribe", id: "1", payload }));
      tell("Listening. Change something in another tab or window.");
    } else if (message.type === "ping") socket.send(JSON.stringify({ type: "pong" }));
    else if (message.type === "next") {
      events.unshift(message.payload);
      events.length = Math.min(events.length, 100);
      show(message.payload);
      at("answer").textContent = events.map((each) => JSON.stringify(each, null, 2)).join("\n\n");
      tell(`Listening. ${events.length} event${events.length > 1 ? "s" : ""}, the newest first.`);
    } else if (message.type === "error") {
      show({ errors: message.payload });
      over = "Refused.";
      socket.close(1000);
    } else if (message.type === "complete") {
      over = "The server has ended it.";
      socket.close(1000);
    }
  };
  socket.onclose = (event) => { tell(over || `Closed: ${event.code} ${event.reason}`); end(); };
}
function run() {
  if (running) return running.stop();
  let request;
  try { request = asked(); } catch (error) { return tell(`Variables or headers are no JSON object: ${error.message}`); }
  keep();
  request.kind === "subscription" ? subscribe(request) : send(request);
}
at("run").addEventListener("click", run);
at("reset").addEventListener("click", () => {
  try { localStorage.removeItem(kept(chosen.name)); } catch { /* nothing is kept */ }
  choose(chosen);
});
for (const id of ["query", "variables"]) at(id).addEventListener("input", keep);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
});
addEventListener("hashchange", () => choose(tabs.find((tab) => `#${tab.name}` === location.hash) ?? chosen));
choose(tabs.find((tab) => `#${tab.name}` === location.hash) ?? tabs[0]);
