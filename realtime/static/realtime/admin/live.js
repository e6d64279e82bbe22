// Keeps the rows of the admin's pages of the cluster as they are now, without disturbing who is at them (`morph`), and
// shows the inputs that the chosen action wants.

import { NotLive, askRows, tell } from "./answer.js";
import { morph } from "../morph.js";

const rows = document.getElementById("rows");
const choice = document.querySelector(".actions select[name=action]");
const ATTENTION = "input, select, textarea";

const boxes = () => [...rows.querySelectorAll("input[name=selected]")];
const all = () => rows.querySelector("#select-all");
let pressed = false; // a button of the pointer, on the rows

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("rows", "1");
  const fresh = document.createElement("template");
  fresh.innerHTML = await askRows(address); // the server's own template, escaped there
  if (pressed) return; // what is being clicked or marked stays where it is; the next answer counts
  morph(rows, fresh.content);
  if (all()) all().checked &&= boxes().every((box) => box.checked);
  rows.dispatchEvent(new Event("refreshed"));
}

function showFields() {
  if (!choice) return;
  const wanted = new Set((choice.selectedOptions[0]?.dataset.fields ?? "").split(" "));
  for (const field of document.querySelectorAll(".actions [data-field]")) {
    field.hidden = !wanted.has(field.dataset.field);
    for (const input of field.querySelectorAll(ATTENTION)) input.disabled = field.hidden;
  }
  showSeconds();
}

function showSeconds() {
  const duration = document.querySelector("select[name=duration]");
  const seconds = document.querySelector("input[name=seconds]");
  if (duration) seconds.hidden = duration.value !== "";
}

rows.addEventListener("pointerdown", () => { pressed = true; });
for (const over of ["pointerup", "pointercancel"]) window.addEventListener(over, () => { pressed = false; });

rows.addEventListener("change", (event) => {
  if (event.target.id === "select-all") for (const box of boxes()) box.checked = event.target.checked;
});
document.querySelector(".actions")?.addEventListener("change", showFields);
showFields();

/** One question at a time, so that no late answer puts older rows in place of newer ones. */
async function keepLive() {
  for (;;) {
    await new Promise((later) => setTimeout(later, Number(rows.dataset.every) * 1000));
    if (document.hidden) continue;
    try {
      await refresh();
      tell(null);
    } catch (error) { // an instance that ends takes a request with it, and the next one counts
      if (error instanceof NotLive) tell(error);
      else reportError(error);
    }
  }
}
keepLive();
