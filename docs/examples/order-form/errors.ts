// What a refusal says, and the field beside which it says so.
import type { CreateOrderMutation } from "./generated/graphql";

export type Refusal = NonNullable<CreateOrderMutation["createOrder"]>["errors"][number];

// The codes that a person can do something about; `message` is written for developers.
export function textOf(error: Refusal): string {
  switch (error.code) {
    case "REFERENCE_NOT_FOUND":
      return "There is none like that.";
    case "ARCHIVED":
      return "This is not sold any more.";
    case "REQUIRED":
      return "Please fill this in.";
    case "OUT_OF_STOCK":
      return `Only ${"available" in error ? error.available : 0} left.`;
    case "CHECK":
      return "minimum" in error && error.minimum != null ? `At least ${error.minimum}.` : "This is out of bounds.";
    default:
      return error.message;
  }
}

// The field whose name is the path after the argument's name, or the beginning of it: ["input", "items", "0", "quantity"] is "items.0.quantity".
export function fieldOf(form: HTMLFormElement, path: readonly string[]): HTMLInputElement | null {
  for (let end = path.length; end > 1; end--) {
    const field = form.elements.namedItem(path.slice(1, end).join("."));
    if (field instanceof HTMLInputElement) return field;
  }
  return null;
}
