// Relay without React: its compiler, its network and its store.
// What goes in: the address of a server. What comes out: one line of JSON.
import {
  Environment,
  Network,
  Observable,
  RecordSource,
  Store,
  commitMutation,
  createOperationDescriptor,
  fetchQuery,
  getPaginationMetadata,
  getPaginationVariables,
  getRequest,
  getSingularSelector,
  graphql,
  requestSubscription,
} from "relay-runtime";
import { byField, changeAndLose, right, wrong } from "../shared/shop.js";
import { connect } from "../shared/sockets.js";
import { until } from "../shared/waiting.js";

const url = `${process.argv[2]}/graphql`;
const sockets = connect(url);

async function request({ text }, variables) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/graphql-response+json" },
    body: JSON.stringify({ query: text, variables }),
  });
  return answer.json();
}

const subscribe = ({ text }, variables) =>
  Observable.create((sink) => sockets.subscribe({ query: text, variables }, sink));

const environment = new Environment({
  network: Network.create(request, subscribe),
  store: new Store(new RecordSource()),
});

const LIST_QUERY = graphql`
  query mainListQuery {
    ...mainList
  }
`;
const LIST = graphql`
  fragment mainList on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 40 }, cursor: { type: "String" })
  @refetchable(queryName: "mainListPageQuery") {
    customers(first: $count, after: $cursor, orderBy: { field: NAME }) @connection(key: "mainList_customers") {
      __id
      edges { node { id name email } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;
const CREATE = graphql`
  mutation mainCreateMutation($input: CreateCustomerInput!, $key: String!, $connections: [ID!]!) {
    createCustomer(input: $input) @idempotent(key: $key) {
      customer @prependNode(connections: $connections, edgeTypeName: "CustomerEdge") {
        id
        name
        email
        orders(first: 5) { edges { node { id note } } }
      }
      errors { code message path }
    }
  }
`;
const RENAME = graphql`
  mutation mainRenameMutation($input: UpdateCustomerInput!) {
    updateCustomer(input: $input) {
      customer { id name }
      errors { code message path }
    }
  }
`;
const DELETE = graphql`
  mutation mainDeleteMutation($id: ID!, $connections: [ID!]!) {
    deleteCustomer(input: { id: $id }) {
      deletedIds @deleteEdge(connections: $connections)
      records: deletedIds @deleteRecord
      errors { code message path }
    }
  }
`;
const ORDER_CHANGED = graphql`
  subscription mainOrderChangedSubscription($customer: ID!, $after: String) {
    orderChanged(customer: $customer, after: $after) {
      cursor
      order { id note }
    }
  }
`;

const mutate = (mutation, variables) =>
  new Promise((resolve, reject) =>
    commitMutation(environment, {
      mutation,
      variables,
      onCompleted: (data) => resolve(Object.values(data)[0]),
      onError: reject,
    }),
  );

// The list that is shown, as `usePaginationFragment` has it: pages are merged in the store.
const operation = createOperationDescriptor(getRequest(LIST_QUERY), {});
environment.retain(operation);
await fetchQuery(environment, LIST_QUERY, {}).toPromise();
const { paginationRequest, paginationMetadata } = getPaginationMetadata(LIST, "main");
const selector = getSingularSelector(LIST, environment.lookup(operation.fragment).data);
const sizes = [];
let list;
function show({ data }) {
  list = data.customers;
  if (list.edges.length !== sizes.at(-1)) sizes.push(list.edges.length);
}
const first = environment.lookup(selector);
environment.subscribe(first, show);
show(first);
for (let page = 1; list.pageInfo.hasNextPage && page < 10; page++) {
  const variables = getPaginationVariables("forward", 40, list.pageInfo.endCursor, {}, {}, paginationMetadata);
  await fetchQuery(environment, paginationRequest, variables).toPromise();
}
const shown = (id) => list.edges.find((edge) => edge.node?.id === id)?.node;
const connections = [list.__id];
const different = new Set(list.edges.map((edge) => edge.node.id)).size;

// Refusals are data, all of them at once, each at its place in the input.
const create = (input) => mutate(CREATE, { input, key: crypto.randomUUID(), connections });
const fields = byField((await create(wrong)).errors);

// What is made is in the list, by its directive.
const { id, orders } = (await create(right("relay"))).customer;
const order = orders.edges[0].node.id;

// What a mutation answers is seen wherever it is shown.
const before = shown(id).name;
await mutate(RENAME, { input: { id, name: "Aaron" } });
const after = shown(id).name;

// So is what a subscription tells of what others do; and nothing is lost while the connection is.
const record = () => environment.getStore().getSource().get(order);
const subscription = requestSubscription(environment, { subscription: ORDER_CHANGED, variables: { customer: id } });
await changeAndLose(sockets, url, order, () => record().note);
await until(() => record().note === "while away");
const seen = record().note;
subscription.dispose();

// What is gone is taken out of the list and out of the store, by its directives.
await mutate(DELETE, { id, connections });
const gone = !list.edges.some((edge) => !edge.node || edge.node.id === id) && record() === null;

await sockets.dispose();
console.log(JSON.stringify({ sizes, different, fields, before, after, seen, gone }));
