// Requests by graphql-request, typed by what graphql-codegen made of the schema and of the documents in this file.
// What goes in: the address of a server. What comes out: one line of JSON.
import { ClientError, GraphQLClient } from "graphql-request";
import { graphql } from "./generated/gql.js";
import type { CreateCustomerInput } from "./generated/graphql.js";

const client = new GraphQLClient(`${process.argv[2]}/graphql`);

const Page = graphql(`
  query Page($after: String) {
    customers(first: 40, after: $after, where: { email: { endsWith: "northwind.example" } }) {
      nodes { id totalSpent createdAt }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

const Create = graphql(`
  mutation Create($input: CreateCustomerInput!, $key: String!) {
    createCustomer(input: $input) @idempotent(key: $key) {
      customer { id totalSpent orders(first: 5) { nodes { orderDate items { quantity lineTotal } } } }
      errors { code path message }
    }
  }
`);

const Rename = graphql(`
  mutation Rename($input: UpdateCustomerInput!) {
    updateCustomer(input: $input) {
      customer { name version }
      errors { code path message }
    }
  }
`);

const Delete = graphql(`
  mutation Delete($id: ID!) {
    deleteCustomer(input: { id: $id }) {
      deletedIds
      errors { code path message }
    }
  }
`);

const pages: string[][] = [];
let after: string | null | undefined;
do {
  const { customers } = await client.request(Page, { after });
  pages.push(customers.nodes.map((customer) => customer.id));
  after = customers.pageInfo.hasNextPage ? customers.pageInfo.endCursor : null;
} while (after && pages.length < 10);

// Every refusal at once, each at its place in the input.
const wrong: CreateCustomerInput = {
  name: "Ada",
  email: "alfki@northwind.example",
  orders: [{ items: [{ item: { sku: "NW-1" }, quantity: 0 }, { item: { sku: "no such" }, quantity: 1 }] }],
};
const { createCustomer: refused } = await client.request(Create, { input: wrong, key: "graphql-request-1" });
const fields = Object.fromEntries((refused?.errors ?? []).map((error) => [error.path.slice(1).join("."), error.code]));

// With one key for one click it happens once, however often it is sent.
const right: CreateCustomerInput = {
  name: "Ada",
  email: "ada@graphql-request.example",
  orders: [{ orderDate: "2026-01-31T10:00:00Z", items: [{ item: { sku: "NW-1" }, quantity: 3, pricePaid: "10.50" }] }],
};
const { createCustomer: first } = await client.request(Create, { input: right, key: "graphql-request-2" });
const { createCustomer: again } = await client.request(Create, { input: right, key: "graphql-request-2" });
const customer = first?.customer;
if (!customer) throw new Error(JSON.stringify(first));

// Money and times are strings, which the compiler holds.
const spent: string = customer.totalSpent;
const dates: string[] = customer.orders.nodes.map((order) => order.orderDate);
// @ts-expect-error money is no number
const wrongly = customer.totalSpent * 2;
// @ts-expect-error exactly one of `id` and `sku`
right.orders = [{ items: [{ item: { id: "Item:1", sku: "NW-1" }, quantity: 1 }] }];

const { updateCustomer: renamed } = await client.request(Rename, { input: { id: customer.id, name: "Ada Lovelace" } });
const { deleteCustomer: deleted } = await client.request(Delete, { id: customer.id });

// What is wrong with a request itself, such as a field that is not there, is thrown.
let thrown: unknown;
try {
  await client.request("{ customers { nodes { shoeSize } } }");
} catch (error) {
  if (!(error instanceof ClientError)) throw error;
  thrown = { status: error.response.status, code: error.response.errors?.[0]?.extensions?.["code"] };
}

console.log(
  JSON.stringify({
    pages,
    fields,
    same: first?.customer?.id === again?.customer?.id,
    spent,
    dates,
    lines: customer.orders.nodes.flatMap((order) => order.items),
    renamed: renamed?.customer,
    deleted: deleted?.deletedIds,
    thrown,
  }),
);
