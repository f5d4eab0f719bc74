import { defineConfig } from "vite";

// A server lets no page of another origin ask it, unless it is told to: the page asks its own, which passes it on.
const proxy = { "/graphql": process.env["ORDERGRAPH"] ?? "http://127.0.0.1:8000" };

export default defineConfig({ server: { proxy }, preview: { proxy } });
