// The lineage page where scripts run: filters, and who is hit if a product is late. The table has
// all facts, so the page is complete without it.
"use strict";
(function () {
  const form = document.querySelector("[data-choices]");
  if (!form) return;
  const said = document.querySelector("[data-hits]");
  const rows = new Map([...document.querySelectorAll("tr[data-key]")].map((row) => [row.dataset.key, row]));
  const nodes = [...document.querySelectorAll(".drawing .node")].filter((node) => !node.matches(".domain"));
  const lines = [...document.querySelectorAll(".drawing .line")];
  const drawn = new Set(nodes.map((node) => node.dataset.key));
  form.hidden = false;

  // Everything downstream, the nearest first.
  function downstream(key) {
    const found = [key];
    const seen = new Set(found);
    for (const each of found) {
      for (const reader of (rows.get(each)?.dataset.readers || "").split(" ").filter(Boolean)) {
        if (!seen.has(reader)) { seen.add(reader); found.push(reader); }
      }
    }
    return found.slice(1);
  }

  function chosen(row, values) {
    return ["domain", "state", "class"].every((name) => !values[name] || row.dataset[name] === values[name]);
  }

  function tell(late, hit) {
    const none = ![...rows.values()].some((row) => !row.hidden);
    said.hidden = !late && !none;
    said.replaceChildren();
    if (none) said.append("No product is of this choice.");
    if (!late) return;
    const domains = new Set(hit.map((key) => rows.get(key)?.dataset.domain));
    const line = document.createElement("p");
    const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
    line.textContent = hit.length
      ? `If ${late} is late, ${count(hit.length, "product")} of ${count(domains.size, "domain")} ${hit.length === 1 ? "gets" : "get"} old data:`
      : `If ${late} is late, no other product is hit.`;
    said.append(line);
    const list = document.createElement("ul");
    for (const key of hit) {
      const item = document.createElement("li");
      const link = rows.get(key)?.querySelector("th a").cloneNode(true);
      item.append(link || key);
      const owner = rows.get(key)?.dataset.owner;
      if (owner) item.append(` · ${owner}`);
      list.append(item);
    }
    said.append(list);
  }

  function show() {
    const values = Object.fromEntries(new FormData(form));
    const late = rows.has(values.late) ? values.late : "";
    const hit = late ? downstream(late) : [];
    const reached = new Set(late ? [late, ...hit] : []);
    const meant = new Set();
    for (const [key, row] of rows) {
      const is = chosen(row, values) && (!late || reached.has(key));
      row.hidden = !is;
      if (is) meant.add(key);
    }
    const is_all = !late && !values.domain && !values.state && !values.class;
    // A topic has no row: it stays with the products that read it.
    const shown = new Set(meant);
    if (!late) {
      for (const line of lines) {
        if (!rows.has(line.dataset.from) && meant.has(line.dataset.to)) shown.add(line.dataset.from);
      }
    }
    for (const node of nodes) {
      const key = node.dataset.key;
      node.classList.toggle("faint", !is_all && !shown.has(key));
      node.classList.toggle("hit", Boolean(late) && key !== late && reached.has(key));
      node.classList.toggle("cause", key === late);
    }
    for (const line of lines) {
      const { from, to } = line.dataset;
      if (!drawn.has(from) || !drawn.has(to)) continue;
      line.classList.toggle("hit", Boolean(late) && reached.has(from) && reached.has(to));
      line.classList.toggle("faint", !is_all && !(shown.has(from) && shown.has(to)));
    }
    tell(late, hit);
  }

  // A link that was cut in the middle of a character has no decoded form.
  function decoded(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  // A link such as lineage.html#late=sales.orders chooses the product.
  function follow() {
    const late = decoded(location.hash.slice(1)).match(/^late=(.*)$/);
    if (!late || !rows.has(late[1])) return;
    form.elements.late.value = late[1];
    show();
    document.getElementById("products").scrollIntoView();
  }

  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  window.addEventListener("hashchange", follow);
  // A browser keeps what was chosen before a reload.
  show();
  follow();
})();
