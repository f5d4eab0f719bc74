// Documents by their hashes: Apollo Client and urql send the name alone, and the text where the server does not know it.
// What goes in: the address of a server, or of several that are asked in turn. What comes out: one line of JSON.
import { createHash } from "node:crypto";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

const addresses = process.argv.slice(2);
const url = `${addresses[0]}/graphql`;
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

// What a client sends, one word a request: the method, and whether the text was there.
const sent = [];
let asked = 0;
const watched = (address, options) => {
  const { searchParams } = new URL(address);
  const request = options.method === "GET" ? Object.fromEntries(searchParams) : JSON.parse(options.body);
  sent.push(`${options.method} ${request.query ? "text" : "name"}`);
  return fetch(address.replace(addresses[0], addresses[asked++ % addresses.length]), options);
};
const seen = () => sent.splice(0);

const named = new PersistedQueryLink({ sha256, useGETForHashedQueries: true });
const apollo = new ApolloClient({
  cache: new InMemoryCache(),
  link: named.concat(new HttpLink({ uri: url, fetch: watched })),
});
const urql = new Client({
  url,
  fetch: watched,
  exchanges: [persistedExchange({ preferGetForPersistedQueries: true, generateHash: async (text) => sha256(text) }), fetchExchange],
});

const first = (name) => `query ${name} { items(first: 1) { nodes { sku } } }`;
const ask = {
  apollo: () => apollo.query({ query: gql(first("ByApollo")), fetchPolicy: "no-cache" }),
  urql: () => urql.query(first("ByUrql"), {}).toPromise(),
};
const answers = {};
for (const [client, query] of Object.entries(ask)) {
  const unknown = await query();
  const firstly = seen();
  const known = await query();
  answers[client] = { firstly, secondly: seen(), skus: [unknown, known].map(({ data }) => data?.items.nodes[0].sku) };
}
apollo.stop();
console.log(JSON.stringify(answers));
