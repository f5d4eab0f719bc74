import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "../schema.graphql",
  documents: ["main.ts"],
  importExtension: ".js",
  config: {
    useTypeImports: true,
    // What JSON holds for each scalar of the schema. Money stays a string: a JavaScript number would be a float.
    scalars: {
      BigInt: "string",
      Date: "string",
      DateTime: "string",
      Decimal: "string",
      Percent: "string",
    },
    strictScalars: true, // a scalar that is missing above is an error, not `any`
    enumsAsTypes: true,
  },
  generates: {
    "generated/": { preset: "client" },
    "generated/schema-types.ts": { plugins: ["typescript"] },
    "generated/operation-types.ts": { plugins: ["typescript-operations"] },
  },
};

export default config;
