// Keeps the rows of the admin's connections as they are now; what is selected stays selected.
"use strict";

const holder = document.getElementById("connections");
const rows = document.getElementById("rows");
const every = Number(holder.dataset.every) * 1000;

function selected() {
  return new Set([...rows.querySelectorAll("input[name=client]:checked")].map((box) => box.value));
}

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("rows", "1");
  const response = await fetch(address, { credentials: "same-origin", redirect: "error" });
  if (!response.ok) return;
  const text = await response.text();
  const kept = selected();
  rows.innerHTML = text; // the server's own template, escaped there
  for (const box of rows.querySelectorAll("input[name=client]")) box.checked = kept.has(box.value);
}

setInterval(() => {
  if (!document.hidden) refresh().catch(() => {}); // an instance that ends takes a request with it: the next one counts
}, every);
