// What the programs ask, send and look at.
import { until } from "./waiting.js";

// Pages of `edges`, which the caches of Apollo Client and urql merge.
export const PAGE = `
  query Page($after: String) {
    customers(first: 40, after: $after, orderBy: { field: NAME }) {
      edges { node { id name email } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;
export const CREATE = `
  mutation Create($input: CreateCustomerInput!, $key: String!) {
    createCustomer(input: $input) @idempotent(key: $key) {
      customer { id name email orders(first: 5) { edges { node { id note } } } }
      errors { code message path }
    }
  }
`;
export const RENAME = `
  mutation Rename($input: UpdateCustomerInput!) {
    updateCustomer(input: $input) {
      customer { id name }
      errors { code message path }
    }
  }
`;
export const DELETE = `
  mutation Delete($id: ID!) {
    deleteCustomer(input: { id: $id }) {
      deletedIds
      errors { code message path }
    }
  }
`;
export const ORDER = `
  query Order($id: ID!) {
    order(by: { id: $id }) { id note }
  }
`;
export const ORDER_CHANGED = `
  subscription OrderChanged($customer: ID!, $after: String) {
    orderChanged(customer: $customer, after: $after) {
      cursor
      order { id note }
    }
  }
`;

const lines = (quantity) => [{ item: { sku: "NW-1" }, quantity }];

// An input with three faults, and one without, whose customer stands first in the list.
export const wrong = {
  name: "Aaron",
  email: "alfki@northwind.example",
  orders: [{ items: [...lines(0), { item: { sku: "no such" }, quantity: 1 }] }],
};
export const right = (client) => ({ name: "AAA", email: `aaron@${client}.example`, orders: [{ items: lines(1) }] });

// The code of each error by the field of the form that it is about, such as "orders.0.items.1.quantity".
export const byField = (errors) => Object.fromEntries(errors.map(({ path, code }) => [path.slice(1).join("."), code]));

// Changes an order until a subscription has begun to tell of it, which is some time after it was asked for; and once more while the
// connection of the subscription is lost.
export async function changeAndLose(sockets, url, order, hasBegun) {
  let tries = 0;
  await until(async () => (await write(url, order, `note ${++tries}`), hasBegun()));
  sockets.lose(() => write(url, order, "while away"));
}

// Changes an order as somebody else would, past the client and its cache.
async function write(url, id, note) {
  const query = "mutation ($input: UpdateOrderInput!) { updateOrder(input: $input) { errors { code } } }";
  const body = JSON.stringify({ query, variables: { input: { id, note } } });
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(await answer.text());
}
