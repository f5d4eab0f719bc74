// A store of a client (Relay, Apollo, urql) keeps every object that has a field `id` as one record by that id. So entities have one,
// and nothing else has: those other types are listed in value-types.json, which tests/test_schema.py holds against the schema.
import graphql from "@graphql-eslint/eslint-plugin";
import values from "./value-types.json" with { type: "json" };

export default [
  {
    files: ["**/*.graphql"],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: "schema.graphql" } },
    },
    plugins: { "@graphql-eslint": graphql },
    rules: {
      "@graphql-eslint/strict-id-in-types": [
        "error",
        { acceptedIdNames: ["id"], acceptedIdTypes: ["ID"], exceptions: values },
      ],
    },
  },
];
