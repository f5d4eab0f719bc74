// What the page asks.
import { graphql } from "./generated";

export const Items = graphql(`
  query Items {
    items(first: 100, orderBy: { field: NAME }) {
      nodes { sku name price }
    }
  }
`);

export const CreateOrder = graphql(`
  mutation CreateOrder($input: CreateOrderInput!, $key: String!) {
    createOrder(input: $input) @idempotent(key: $key) {
      order { number totalAmount }
      errors {
        code
        path
        message
        ... on CheckError { minimum maximum }
        ... on StockError { available }
      }
    }
  }
`);
