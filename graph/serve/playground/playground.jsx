// The playground: GraphiQL with our ready tabs, its explorer, and subscriptions over a WebSocket. It asks its own server alone.

import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "monaco-editor/min/vs/editor/editor.main.css";
import "./playground.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { ToolbarButton } from "@graphiql/react";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
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
const fetcher = createGraphiQLFetcher({
  url: location.pathname,
  subscriptionUrl: socket.href,
  fetch: (address, options) => {
    const body = JSON.parse(options.body);
    const isOwn = body.operationName !== "IntrospectionQuery" && Object.keys(wanted).length > 0;
    return fetch(address, isOwn ? { ...options, body: JSON.stringify({ ...body, extensions: wanted }) } : options);
  },
});

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

// The tab that an address names comes first to whoever has none of his own.
const named = ready.findIndex((tab) => `#${tab.name}` === location.hash);
const tabs = named > 0 ? [ready[named], ...ready.filter((_, index) => index !== named)] : ready;
const plugins = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

createRoot(document.getElementById("playground")).render(
  <GraphiQL fetcher={fetcher} plugins={plugins} defaultTabs={tabs.map(({ query }) => ({ query }))} defaultEditorToolsVisibility={false}>
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
