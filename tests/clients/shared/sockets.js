// Subscriptions over one WebSocket, by graphql-ws.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

// A client that connects again whenever its connection is lost. `lose` loses it, and does something before it is there again.
export function connect(url) {
  let wait = async () => {};
  const client = createClient({
    url: url.replace(/^http/, "ws"),
    webSocketImpl: WebSocket, // where Node has no WebSocket of its own (before 22)
    retryAttempts: Infinity,
    shouldRetry: () => true, // a connection that is refused, too: the server may be just about to begin
    retryWait: () => wait(),
  });
  const lose = (meanwhile) => {
    wait = meanwhile;
    client.terminate();
  };
  return { ...resumable(client), lose };
}

// A client of graphql-ws whose subscriptions go on where they were when the connection was lost: the cursor of the last event is the
// next `after`. The document takes `$after: String` and selects `cursor`.
export function resumable(client) {
  return {
    ...client,
    subscribe(request, sink) {
      const payload = { ...request, variables: { ...request.variables } };
      return client.subscribe(payload, {
        ...sink,
        next(result) {
          const [event] = Object.values(result.data ?? {});
          if (event) payload.variables.after = event.cursor;
          sink.next(result);
        },
      });
    },
  };
}
