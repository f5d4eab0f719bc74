import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: `${process.env["ORDERGRAPH"] ?? "http://127.0.0.1:8000"}/graphql`,
  documents: ["documents.ts"],
  config: {
    scalars: { BigInt: "string", Date: "string", DateTime: "string", Decimal: "string", Percent: "string" },
    strictScalars: true,
    useTypeImports: true,
    enumsAsTypes: true,
  },
  generates: { "generated/": { preset: "client" } },
};

export default config;
