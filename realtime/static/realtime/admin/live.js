// Keeps the rows of the admin's pages of the cluster as they are now, what is selected selected, and shows the inputs
// that the chosen action wants.

const rows = document.getElementById("rows");
const choice = document.querySelector(".actions select[name=action]");
const ATTENTION = "input, select, textarea";

const boxes = () => [...rows.querySelectorAll("input[name=selected]")];

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("rows", "1");
  const response = await fetch(address, { credentials: "same-origin", redirect: "error" });
  if (!response.ok) throw new Error(`answered with ${response.status}`);
  const text = await response.text();
  const kept = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const all = rows.querySelector("#select-all")?.checked;
  const focused = rows.contains(document.activeElement) ? document.activeElement.value : null;
  rows.innerHTML = text; // the server's own template, escaped there
  for (const box of boxes()) {
    box.checked = kept.has(box.value);
    if (box.value === focused) box.focus();
  }
  const every = rows.querySelector("#select-all");
  if (every && all) every.checked = boxes().every((box) => box.checked);
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

rows.addEventListener("change", (event) => {
  if (event.target.id === "select-all") for (const box of boxes()) box.checked = event.target.checked;
});
document.querySelector(".actions")?.addEventListener("change", showFields);
showFields();

setInterval(async () => {
  if (document.hidden) return;
  try {
    await refresh();
    delete rows.dataset.stale;
  } catch { // an instance that ends takes a request with it, and the next one counts; or nobody is logged in any more
    rows.dataset.stale = "";
  }
}, Number(rows.dataset.every) * 1000);
