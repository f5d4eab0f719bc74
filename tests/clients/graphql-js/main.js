// graphql-js 17 reads the schema, as text and as introspection tells it, and holds documents against it.
// What goes in: the address of a server. What comes out: one line of JSON.
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  lexicographicSortSchema,
  parse,
  print,
  printSchema,
  validate,
  validateSchema,
  version,
} from "graphql-17";

const address = process.argv[2];

async function ask(query) {
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  const answer = await fetch(`${address}/graphql`, { method: "POST", headers, body: JSON.stringify({ query }) });
  return answer.json();
}

const written = buildSchema(await (await fetch(`${address}/schema.graphql`)).text());
const { data, errors } = await ask(
  getIntrospectionQuery({
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    schemaDescription: true,
    inputValueDeprecation: true,
    oneOf: true,
  }),
);
if (errors) throw new Error(JSON.stringify(errors));
const told = buildClientSchema(data);

const good = parse(`
  mutation Move($input: MoveOrderItemInput!) @dryRun {
    moveOrderItem(input: $input) @idempotent(key: "k") { orderItem { lineTotal } errors { code ... on StockError { available } } }
  }
`);
const wrong = parse('{ customer(by: { id: "a", email: "b" }) { shoeSize } }');
const messages = validate(told, wrong).map((error) => error.message);

console.log(
  JSON.stringify({
    version,
    invalid: [...validateSchema(written), ...validateSchema(told)].length,
    same: [written, told].map((schema) => printSchema(lexicographicSortSchema(schema))).every((text, _, all) => text === all[0]),
    good: [...validate(written, good), ...validate(told, good)].length,
    messages,
    answer: await ask(print(parse("{ items(first: 1) { nodes { sku price } } }"))),
  }),
);
