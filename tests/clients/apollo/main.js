// Apollo Client: what its cache does by itself, and the least that it has to be told.
// What goes in: the address of a server. What comes out: one line of JSON.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { OperationTypeNode } from "graphql";
import { CREATE, DELETE, ORDER, ORDER_CHANGED, PAGE, RENAME, byField, changeAndLose, right, wrong } from "../shared/shop.js";
import { connect } from "../shared/sockets.js";
import { until } from "../shared/waiting.js";

const url = `${process.argv[2]}/graphql`;
const sockets = connect(url);

const list = relayStylePagination(["where", "orderBy", "search"]);
const cache = new InMemoryCache({
  dataIdFromObject: (object) => object.id, // ids are global
  typePolicies: {
    Query: { fields: { customers: list, items: list, orders: list } },
    Customer: { fields: { orders: list } },
    Item: { fields: { orderItems: list } },
  },
});
const client = new ApolloClient({
  cache,
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(sockets),
    new HttpLink({ uri: url }),
  ),
});

const create = async (input) => {
  const variables = { input, key: crypto.randomUUID() };
  return (await client.mutate({ mutation: gql(CREATE), variables })).data.createCustomer;
};

// Refusals are data, all of them at once, each at its place in the input.
const fields = byField((await create(wrong)).errors);
const { id, orders } = (await create(right("apollo"))).customer;
const order = orders.edges[0].node.id;

// Pages are merged into one list, which everybody who shows it is told of.
const query = client.watchQuery({ query: gql(PAGE) });
const sizes = [];
let shown = [];
let page;
query.subscribe(({ data }) => {
  if (!data?.customers) return;
  page = data.customers.pageInfo;
  shown = data.customers.edges.map((edge) => edge.node);
  if (shown.length !== sizes.at(-1)) sizes.push(shown.length);
});
await until(() => page);
for (let pages = 1; page.hasNextPage && pages < 10; pages++) {
  await query.fetchMore({ variables: { after: page.endCursor } });
  await until(() => sizes.length > pages);
}
const different = new Set(shown.map((customer) => customer.id)).size;

// What a mutation answers is seen wherever it is shown.
const name = () => shown.find((customer) => customer.id === id).name;
const before = name();
await client.mutate({ mutation: gql(RENAME), variables: { input: { id, name: "Aaron" } } });
await until(() => name() !== before);
const after = name();

// So is what a subscription tells of what others do; and nothing is lost while the connection is.
let seen;
const watched = client.watchQuery({ query: gql(ORDER), variables: { id: order } });
watched.subscribe(({ data }) => (seen = data?.order?.note));
let begun = false;
const told = client.subscribe({ query: gql(ORDER_CHANGED), variables: { customer: id } });
const subscription = told.subscribe(() => (begun = true));
await changeAndLose(sockets, url, order, () => begun);
await until(() => seen === "while away");
subscription.unsubscribe();

// What is gone is taken out of the cache, and so out of all lists.
await client.mutate({
  mutation: gql(DELETE),
  variables: { id },
  update: (cache, { data }) => data.deleteCustomer.deletedIds.forEach((id) => cache.evict({ id })),
});
await until(() => !shown.some((customer) => customer.id === id));

await sockets.dispose();
client.stop();
console.log(JSON.stringify({ sizes, different, fields, before, after, seen, kept: id in cache.extract() }));
