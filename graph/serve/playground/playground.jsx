// The playground: GraphiQL with our ready tabs, its explorer, and subscriptions over a WebSocket. It asks its own server alone.

import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "monaco-editor/min/vs/editor/editor.main.css";
import "./playground.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { ToolbarButton } from "@graphiql/react";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import { Kind, parse } from "graphql";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const workers = { json: "json.js", graphql: "graphql.js" };
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(new URL(workers[label] ?? "editor.js", import.meta.url), { type: "module" }),
};

const ready = JSON.parse(document.getElementById("ready").textContent);
const socket = new URL(location.pathname, location.href);
socket.protocol = socket.protocol.replace("http", "ws");

/** What is asked for beside the answer: `extensions` of every request by HTTP. */
const wanted = {};
const send = createGraphiQLFetcher({
  url: location.pathname,
  subscriptionUrl: socket.href,
  fetch: (address, options) => {
    const body = JSON.parse(options.body);
    const isOwn = body.operationName !== "IntrospectionQuery" && Object.keys(wanted).length > 0;
    return fetch(address, isOwn ? { ...options, body: JSON.stringify({ ...body, extensions: wanted }) } : options);
  },
});

/** GraphiQL learns a moment late which operations a tab has: what runs is one of those in the text that is sent. */
function fetcher(asked, options) {
  let documentAST;
  try {
    documentAST = parse(asked.query);
  } catch {
    return send(asked, options); // the server says what is wrong with it
  }
  const operations = documentAST.definitions.filter((each) => each.kind === Kind.OPERATION_DEFINITION);
  const meant = operations.find((each) => each.name?.value === asked.operationName) ?? operations[0];
  return send({ ...asked, operationName: meant?.name?.value }, { ...options, documentAST });
}

function Asking({ name, label, children }) {
  const [on, setOn] = useState(false);
  const turn = () => {
    if (on) delete wanted[name];
    else wanted[name] = true;
    setOn(!on);
  };
  return (
    <ToolbarButton label={`${label}: ${on ? "on" : "off"}`} aria-pressed={on} className={on ? "asked" : ""} onClick={turn}>
      {children}
    </ToolbarButton>
  );
}

// The tab that an address names comes first, and is opened beside those that somebody has left.
const tabOfAddress = () => ready.find((tab) => `#${tab.name}` === location.hash);
const named = tabOfAddress();
const tabs = named ? [named, ...ready.filter((tab) => tab !== named)] : ready;
const opened = named ? { initialQuery: named.query, initialVariables: "" } : {};
history.replaceState(null, "", location.pathname);
addEventListener("hashchange", () => tabOfAddress() && location.reload());
const plugins = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

createRoot(document.getElementById("playground")).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={plugins}
    defaultTabs={tabs.map(({ query }) => ({ query }))}
    defaultEditorToolsVisibility={false}
    {...opened}
  >
    <GraphiQL.Logo>
      <></>
    </GraphiQL.Logo>
    <GraphiQL.Toolbar>
      {({ prettify, copy, merge }) => (
        <>
          {prettify}
          {merge}
          {copy}
          <Asking name="cost" label="Cost beside the answer">
            $
          </Asking>
          <Asking name="explain" label="SQL and plan beside the answer">
            SQL
          </Asking>
        </>
      )}
    </GraphiQL.Toolbar>
  </GraphiQL>,
);
