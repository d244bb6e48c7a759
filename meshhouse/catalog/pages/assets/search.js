// Search: loads the index that the build made (catalog/search.py), scores, shows. Names, domains
// and owners are in one list; words of columns and descriptions come in shards after three letters.
"use strict";
(function () {
  const MOST = 50, SHARDS = 64, FEW = 3;
  const root = document.documentElement.dataset.root || "";
  const asked = new Set();
  const shards = new Map();
  let list = null;
  let waiting = [];

  function load(name) {
    if (asked.has(name)) return;
    asked.add(name);
    const script = document.createElement("script");
    script.src = `${root}search/${name.padStart(2, "0")}.js`;
    script.onerror = () => { shards.set(name, { c: [], w: {} }); waiting.forEach((each) => each()); };
    document.head.append(script);
  }

  function take([name, data]) {
    asked.add(name);
    if (name === "list") list = prepared(data);
    else shards.set(name, data);
    waiting.forEach((each) => each());
  }

  function words(text) { return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) || []; }

  function prepared(data) {
    const owners = data.owners.map((name) => ({ name, text: name.toLowerCase(), words: words(name) }));
    const domains = data.domains.map(([name, says]) => ({ name, says, text: name.toLowerCase(), words: words(name) }));
    const products = data.names.map((name, at) => ({
      name: `${domains[data.of[at]].name}.${name}`, text: name.toLowerCase(), words: words(name),
      domain: domains[data.of[at]], owner: owners[data.by[at]], state: data.states[data.is[at]],
      says: data.says[at], said: data.says[at].toLowerCase(), file: name,
    }));
    return { domains, products };
  }

  // Whether a word begins with the term after one letter is changed, left out, added or swapped.
  function nearly(word, term) {
    const long = Math.min(word.length, term.length + 1);
    for (let size = Math.max(1, term.length - 1); size <= long; size++) {
      if (oneEdit(word.slice(0, size), term)) return true;
    }
    return false;
  }

  function oneEdit(one, other) {
    if (Math.abs(one.length - other.length) > 1) return false;
    let at = 0;
    while (at < one.length && one[at] === other[at]) at++;
    let end = 0;
    while (end < Math.min(one.length, other.length) - at && one[one.length - 1 - end] === other[other.length - 1 - end]) end++;
    const left = one.length - at - end, right = other.length - at - end;
    return (left <= 1 && right <= 1)
      || (left === 2 && right === 2 && one[at] === other[at + 1] && one[at + 1] === other[at]);
  }

  function inWords(found, term, exact, prefix) {
    let best = 0;
    for (const word of found) {
      if (word === term) return exact;
      if (word.startsWith(term)) best = prefix;
    }
    return best;
  }

  function direct(product, term) {
    if (product.text === term) return 110;
    if (product.text.startsWith(term)) return 95;
    let best = inWords(product.words, term, 90, 80);
    if (best) return best;
    if (product.text.includes(term)) return 60;
    best = inWords(product.domain.words, term, 50, 40) || inWords(product.owner.words, term, 45, 35);
    if (best) return best;
    const at = product.said.indexOf(term);
    return at < 0 ? 0 : at === 0 || !/[\p{L}\p{N}]/u.test(product.said[at - 1]) ? 25 : 12;
  }

  function mistyped(product, term) {
    if (product.words.some((word) => nearly(word, term))) return 30;
    if (product.domain.words.some((word) => nearly(word, term))) return 20;
    return product.owner.words.some((word) => nearly(word, term)) ? 15 : 0;
  }

  function shardOf(term) {
    const [first, second] = [...term];
    return `${(first.codePointAt(0) * 31 + second.codePointAt(0)) % SHARDS}`;
  }

  function each(differences, use) {
    let at = 0;
    for (const step of differences) { at += step; use(at); }
  }

  // Matches of one term in a shard: product -> [score, column].
  function inShard(shard, term, found, fits, ofColumns, ofTexts) {
    for (const word in shard.w) {
      if (!fits(word)) continue;
      const exact = word === term ? 1.15 : 1;
      const [columns, texts] = shard.w[word];
      each(texts, (product) => add(found, product, ofTexts * exact, ""));
      each(columns, (column) => {
        const [name, products] = shard.c[column];
        each(products, (product) => add(found, product, ofColumns * exact, name));
      });
    }
  }

  function add(found, product, score, column) {
    const before = found.get(product);
    if (!before || before[0] < score) found.set(product, [score, column]);
  }

  // Every product that has a term: product -> [score, column]. Typos count where little else fits.
  function matches(term) {
    const found = new Map();
    list.products.forEach((product, at) => {
      const score = direct(product, term);
      if (score) found.set(at, [score, ""]);
    });
    const shard = [...term].length > 1 ? shards.get(shardOf(term)) : null;
    if (shard) inShard(shard, term, found, (word) => word.startsWith(term), 48, 22);
    if (found.size < FEW && term.length > 3) {
      list.products.forEach((product, at) => {
        const score = mistyped(product, term);
        if (score) add(found, at, score, "");
      });
      if (shard) inShard(shard, term, found, (word) => nearly(word, term), 18, 8);
    }
    return found;
  }

  // Whether all that could match is here: a single letter says too little, and a shard may be on its way.
  function isKnown(term) { return [...term].length > 1 && shards.has(shardOf(term)); }

  function search(text) {
    const terms = words(text).slice(0, 6);
    if (!list || !terms.length) return null;
    const many = terms.join("").length > 2;
    for (const term of terms) if (many && [...term].length > 1) load(shardOf(term));
    let all = null;
    for (const term of terms) {
      const found = matches(term);
      if (!all) { all = found; continue; }
      for (const [product, [score, column]] of all) {
        const more = found.get(product);
        if (more) all.set(product, [score + more[0], column || more[1]]);
        else if (isKnown(term)) all.delete(product);
      }
    }
    const hits = [...all].map(([at, [score, column]]) => ({ product: list.products[at], score, column }));
    hits.sort((one, other) => other.score - one.score || one.product.text.length - other.product.text.length
      || (one.product.name < other.product.name ? -1 : 1));
    const whole = terms.join(" ");
    const domains = list.domains.filter((each) => words(each.name).join(" ").startsWith(whole));
    return { terms, domains: domains.slice(0, 3), hits, products: hits.slice(0, MOST) };
  }

  function marked(text, terms) {
    const lower = text.toLowerCase();
    const term = lower.length === text.length && terms.find((each) => lower.includes(each));
    if (!term) return [text];
    const at = lower.indexOf(term);
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + term.length);
    return [text.slice(0, at), mark, text.slice(at + term.length)];
  }

  function element(tag, kind, ...content) {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    made.append(...content);
    return made;
  }

  const KINDS = { fresh: "good", late: "warn", failed: "bad", damaged: "bad" };

  function option(href, at, parts) {
    const link = element("a", "", ...parts);
    link.href = root + href;
    link.id = `result-${at}`;
    link.tabIndex = -1;
    link.setAttribute("role", "option");
    link.setAttribute("aria-selected", "false");
    return link;
  }

  function options(found) {
    const shown = found.domains.map((domain, at) => option(`domains/${encodeURIComponent(domain.name)}.html`, at, [
      element("b", "", ...marked(domain.name, found.terms)), element("span", "tag", "domain"), element("small", "", domain.says),
    ]));
    for (const { product, column } of found.products) {
      const page = `products/${encodeURIComponent(product.domain.name)}/${encodeURIComponent(product.file)}.html`;
      const small = column ? element("small", "", "column ", ...marked(column, found.terms)) : element("small", "", ...marked(product.says, found.terms));
      const anchor = column ? `#c-${encodeURIComponent(column.slice(0, 80).toLowerCase().replace(/[^\p{L}\p{N}_]+/gu, "-"))}` : "";
      shown.push(option(page + anchor, shown.length, [
        element("b", "", ...marked(product.name, found.terms)),
        element("span", `badge ${KINDS[product.state] || "none"}`, product.state), small,
      ]));
    }
    return shown;
  }

  function begin(box) {
    const input = box.querySelector("input"), results = box.querySelector("[role=listbox]");
    const status = box.querySelector("[data-found]");
    let chosen = -1;

    function close() {
      results.hidden = true;
      chosen = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    }

    function choose(at) {
      const all = results.querySelectorAll("a");
      if (!all.length) return;
      all[chosen]?.setAttribute("aria-selected", "false");
      chosen = (at + all.length) % all.length;
      all[chosen].setAttribute("aria-selected", "true");
      all[chosen].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", all[chosen].id);
    }

    function show() {
      const found = search(input.value);
      if (!found) { close(); return; }
      const shown = options(found);
      chosen = -1;
      input.removeAttribute("aria-activedescendant");
      const more = found.hits.length - found.products.length;
      const nothing = "Nothing found. Try part of a name, a column or an owner.";
      results.replaceChildren(...(shown.length ? shown : []));
      results.hidden = !shown.length;
      input.setAttribute("aria-expanded", `${shown.length > 0}`);
      status.textContent = !shown.length ? nothing : more > 0
        ? `${found.hits.length} products. The best ${MOST} are shown.` : `${shown.length} found.`;
      status.className = shown.length ? "unseen" : "quiet";
      if (shown.length) choose(0);
    }

    box.hidden = false;
    waiting.push(() => { if (document.activeElement === input && input.value) show(); });
    input.addEventListener("focus", () => { load("list"); if (input.value) show(); });
    input.addEventListener("input", show);
    input.addEventListener("keydown", (event) => {
      if (event.key === "/" && !input.value) { event.preventDefault(); return; } // the key to come here
      if (event.key === "Escape") { input.value = ""; show(); status.textContent = ""; }
      else if (results.hidden) return;
      else if (event.key === "ArrowDown") choose(chosen + 1);
      else if (event.key === "ArrowUp") choose(chosen - 1);
      else if (event.key === "Enter") results.querySelectorAll("a")[chosen]?.click();
      else return;
      event.preventDefault();
    });
    box.addEventListener("focusout", (event) => { if (!box.contains(event.relatedTarget)) close(); });
    // A pressed button must not take the focus before the click follows the link.
    results.addEventListener("mousedown", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName || "")) return;
      event.preventDefault();
      input.focus();
      input.select();
    });
    if ("focus" in box.dataset && !location.hash) input.focus();
  }

  const early = window.mesh || [];
  window.mesh = { push: take };
  early.forEach(take);
  document.querySelectorAll("[data-search]").forEach(begin);
})();
