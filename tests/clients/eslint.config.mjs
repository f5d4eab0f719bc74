// The rules of @graphql-eslint that a front end wants of a schema: what Relay needs, names, descriptions.
import graphql from "@graphql-eslint/eslint-plugin";
import valueTypes from "./value-types.json" with { type: "json" };

const recommended = graphql.configs["flat/schema-recommended"].rules;
const [, { EnumValueDefinition: values, ...names }] = recommended["@graphql-eslint/naming-convention"];

export default [
  {
    files: ["**/*.graphql"],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: "schema.graphql" } },
    },
    plugins: { "@graphql-eslint": graphql },
    rules: {
      ...recommended,
      ...graphql.configs["flat/schema-relay"].rules,

      // A connection has `nodes` beside `edges`, and there are lists that are no connections: those are bounded. A `Change` is no
      // `Node`: an entry of the log is read in its place, and by no id.
      "@graphql-eslint/relay-edge-types": [
        "error",
        { withEdgeSuffix: true, shouldImplementNode: false, listTypeCanWrapOnlyEdgeType: false },
      ],

      // Whoever filters changes names types, so these values are written as types are.
      "@graphql-eslint/naming-convention": [
        "error",
        {
          ...names,
          "EnumValueDefinition[parent.name.value!=ChangedType]": values,
          "EnumValueDefinition[parent.name.value=ChangedType]": "PascalCase",
        },
      ],
      "@graphql-eslint/no-typename-prefix": "off", // `Order.orderDate` is what people call it

      // Everything, fields and arguments too. `@oneOf` is described by the specification.
      "@graphql-eslint/require-description": [
        "error",
        {
          types: true,
          DirectiveDefinition: true,
          FieldDefinition: true,
          InputValueDefinition: true,
          EnumValueDefinition: true,
          ignoredSelectors: ["DirectiveDefinition[name.value=oneOf]"],
        },
      ],
      "@graphql-eslint/input-name": "error",
      "@graphql-eslint/require-nullable-fields-with-oneof": "error",
      "@graphql-eslint/require-type-pattern-with-oneof": "error",
      "@graphql-eslint/no-scalar-result-type-on-mutation": "error",

      // A store of a client (Relay, Apollo, urql) keeps every object that has a field `id` as one record by that id. So entities
      // have one, and nothing else has: those other types are listed in value-types.json, which tests/test_schema.py holds against
      // the schema.
      "@graphql-eslint/strict-id-in-types": [
        "error",
        { acceptedIdNames: ["id"], acceptedIdTypes: ["ID"], exceptions: valueTypes },
      ],
    },
  },
];
