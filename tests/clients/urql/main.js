// urql with Graphcache: what its cache does by itself, and the least that it has to be told.
// What goes in: the address of a server. What comes out: one line of JSON.
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { CREATE, DELETE, ORDER, ORDER_CHANGED, PAGE, RENAME, byField, changeAndLose, right, wrong } from "../shared/shop.js";
import { connect } from "../shared/sockets.js";
import { until } from "../shared/waiting.js";

const url = `${process.argv[2]}/graphql`;
const sockets = connect(url);

// Takes a row that is gone out of the cache, and before that out of the lists: Graphcache shows no list that misses an entry.
function forget(cache, id) {
  for (const { fieldKey } of cache.inspectFields("Query")) {
    const connection = cache.resolve("Query", fieldKey);
    const edges = connection && cache.resolve(connection, "edges");
    if (edges) cache.link(connection, "edges", edges.filter((edge) => cache.resolve(edge, "node") !== id));
  }
  cache.invalidate(id);
}

const warnings = [];
const client = new Client({
  url,
  exchanges: [
    cacheExchange({
      globalIDs: true,
      resolvers: {
        Query: { customers: relayPagination(), items: relayPagination(), orders: relayPagination() },
        Customer: { orders: relayPagination() },
        Item: { orderItems: relayPagination() },
      },
      updates: {
        Mutation: {
          deleteCustomer: ({ deleteCustomer }, _, cache) => deleteCustomer?.deletedIds.forEach((id) => forget(cache, id)),
        },
      },
      logger: (severity, message) => severity !== "debug" && warnings.push(message),
    }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query, variables }) => ({
        subscribe: (sink) => ({ unsubscribe: sockets.subscribe({ query, variables }, sink) }),
      }),
    }),
  ],
});

async function mutate(document, variables) {
  const { data, error } = await client.mutation(document, variables);
  if (error) throw error;
  return data;
}
const create = async (input) => (await mutate(CREATE, { input, key: crypto.randomUUID() })).createCustomer;

// Refusals are data, all of them at once, each at its place in the input.
const fields = byField((await create(wrong)).errors);
const { id, orders } = (await create(right("urql"))).customer;
const order = orders.edges[0].node.id;

// Pages are merged into one list: whoever asks for the next page is shown all of them.
const sizes = [];
let shown = [];
let page = {};
let watching;
do {
  watching?.unsubscribe();
  const before = sizes.length;
  watching = client.query(PAGE, { after: page.endCursor }).subscribe(({ data }) => {
    if (!data) return;
    page = data.customers.pageInfo;
    shown = data.customers.edges.map((edge) => edge.node);
    if (shown.length !== sizes.at(-1)) sizes.push(shown.length);
  });
  await until(() => sizes.length > before);
} while (page.hasNextPage && sizes.length < 10);
const different = new Set(shown.map((customer) => customer.id)).size;

// What a mutation answers is seen wherever it is shown.
const name = () => shown.find((customer) => customer.id === id).name;
const before = name();
await mutate(RENAME, { input: { id, name: "Aaron" } });
await until(() => name() !== before);
const after = name();

// So is what a subscription tells of what others do; and nothing is lost while the connection is.
let seen;
const watchingOrder = client.query(ORDER, { id: order }).subscribe(({ data }) => (seen = data?.order?.note));
let begun = false;
const told = client.subscription(ORDER_CHANGED, { customer: id });
const subscription = told.subscribe(() => (begun = true));
await changeAndLose(sockets, url, order, () => begun);
await until(() => seen === "while away");
subscription.unsubscribe();
watchingOrder.unsubscribe();

// What is gone is taken out of the cache, and so out of all lists.
await mutate(DELETE, { id });
await until(() => !shown.some((customer) => customer.id === id));

watching.unsubscribe();
await sockets.dispose();
console.log(JSON.stringify({ sizes, different, fields, before, after, seen, warnings }));
