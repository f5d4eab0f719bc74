// Waiting for what happens, and not for ever.
const SECONDS = 30;

// Waits until something holds, tried ten times a second. Answers what holds.
export async function until(holds) {
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const held = await holds();
    if (held) return held;
  }
  throw new Error(`this did not come to hold within ${SECONDS} s: ${holds}`);
}
