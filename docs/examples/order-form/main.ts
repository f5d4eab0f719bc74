// A form for an order. Each refusal is shown at the field that it is about.
import { ClientError, GraphQLClient } from "graphql-request";
import { CreateOrder, Items } from "./documents";
import { fieldOf, textOf } from "./errors";
import type { CreateOrderInput } from "./generated/graphql";

const client = new GraphQLClient(new URL("/graphql", location.href).href);
const find = <E extends Element>(selector: string) => document.querySelector<E>(selector)!;
const form = find<HTMLFormElement>("form");
const lines = find<HTMLElement>("#lines");
const others = find<HTMLElement>("#others");
const output = find<HTMLOutputElement>("output");

// The same click happens once, however often it is sent; what was changed is another order.
let key = crypto.randomUUID();
form.addEventListener("input", () => (key = crypto.randomUUID()));

function addLine(): void {
  const line = find<HTMLTemplateElement>("template").content.cloneNode(true) as DocumentFragment;
  for (const field of line.querySelectorAll<HTMLInputElement>("[data-name]")) {
    field.name = `items.${lines.children.length}.${field.dataset["name"]}`;
  }
  lines.append(line);
}

function inputOf(values: FormData): CreateOrderInput {
  const text = (name: string) => String(values.get(name) ?? "").trim();
  return {
    customer: { email: text("customer.email") },
    note: text("note") || null,
    discount: text("discount") || null,
    items: [...lines.children].map((_, index) => ({
      item: { sku: text(`items.${index}.item.sku`) },
      quantity: Number(text(`items.${index}.quantity`)),
    })),
  };
}

function show(path: readonly string[], text: string): void {
  const field = fieldOf(form, path);
  if (!field) {
    others.append(`${text} `);
    return;
  }
  const shown = Object.assign(document.createElement("span"), { className: "error", id: `${field.name}-error`, textContent: text });
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", shown.id);
  field.after(shown);
}

function forget(): void {
  others.textContent = output.textContent = "";
  form.querySelectorAll(".error").forEach((shown) => shown.remove());
  form.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
}

async function send(): Promise<void> {
  forget();
  try {
    const { createOrder } = await client.request(CreateOrder, { input: inputOf(new FormData(form)), key });
    createOrder?.errors.forEach((error) => show(error.path, textOf(error)));
    if (createOrder?.order) output.textContent = `Order ${createOrder.order.number}: ${createOrder.order.totalAmount}`;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    // What is no value of its type, such as a quantity of 1.5, is told with the path of the variable.
    for (const { message, extensions } of error.response.errors ?? []) show((extensions["path"] as string[] | undefined) ?? [], message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void send();
});
find("#add").addEventListener("click", addLine);
addLine();

const { items } = await client.request(Items);
find("#items").append(...items.nodes.map(({ sku, name, price }) => new Option(`${name}, ${price}`, sku)));
