// Search: loads the index that the build made (catalog/search.py), scores, shows. Names, domains
// and owners are in one list; words of columns and descriptions come in shards after three letters.
// After a typo in the first two letters, words.js says where.
"use strict";
(function () {
  const MOST = 50, SEEN = 10, SHARDS = 64, FEW = 3, FORGIVEN = 4, RELATED = 8;
  const root = document.documentElement.dataset.root || "";
  const asked = new Set();
  const shards = new Map();
  const kept = new Map();
  let list = null, vocabulary = null;
  let waiting = [];

  function load(name) {
    if (asked.has(name)) return;
    asked.add(name);
    const script = document.createElement("script");
    script.src = `${root}search/${name.padStart(2, "0")}.js`;
    script.onerror = () => { if (name !== "list") take([name, name === "words" ? "" : { c: [], w: {} }]); };
    document.head.append(script);
  }

  function take([name, data]) {
    asked.add(name);
    if (name === "list") { list = prepared(data); count(); }
    else if (name === "words") vocabulary = data.split(" ");
    else shards.set(name, data);
    kept.clear();
    waiting.forEach((each) => each());
  }

  function words(text) { return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) || []; }

  // Products, and what is asked of each of them at every key: computed once.
  function prepared(data) {
    const hour = Math.floor(Date.now() / 3600000);
    const named = (name, says) => ({ name, says, text: name.toLowerCase(), words: words(name) });
    const owners = data.owners.map((name) => named(name, ""));
    const domains = data.domains.map(([name, says]) => named(name, says));
    const products = data.names.map((file, at) => ({
      ...named(file, data.says[at]), name: `${domains[data.of[at]].name}.${file}`, file,
      of: data.of[at], by: data.by[at], state: data.ends[at] && hour >= data.ends[at] ? "late" : data.states[data.is[at]], said: data.says[at].toLowerCase(),
    }));
    // Equal scores: the shorter name comes first.
    const order = products.map((_, at) => at).sort((one, other) =>
      products[one].text.length - products[other].text.length || (products[one].name < products[other].name ? -1 : 1));
    const rank = new Uint32Array(order.length);
    order.forEach((at, place) => { rank[at] = place; });
    return { domains, owners, products, order, rank };
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

  function inName(product, term) {
    if (product.text === term) return 110;
    if (product.text.startsWith(term)) return 95;
    return inWords(product.words, term, 90, 80) || (product.text.includes(term) ? 60 : 0);
  }

  function inSentence(said, term) {
    const at = said.indexOf(term);
    return at < 0 ? 0 : at === 0 || !/[\p{L}\p{N}]/u.test(said[at - 1]) ? 25 : 12;
  }

  function shardOf(term) {
    const [first, second] = [...term];
    return `${(first.codePointAt(0) * 31 + second.codePointAt(0)) % SHARDS}`;
  }

  function each(differences, use) {
    let at = 0;
    for (const step of differences) { at += step; use(at); }
  }

  // Words of columns and texts that fit.
  function inShard(shard, found, term, fits, ofColumns, ofTexts) {
    for (const word in shard.w) {
      if (!fits(word)) continue;
      const exact = word === term ? 5 : 0;
      const [columns, texts] = shard.w[word];
      each(texts, (product) => add(found, product, ofTexts + exact, null));
      each(columns, (column) => {
        each(shard.c[column][1], (product) => add(found, product, ofColumns + exact, shard.c[column]));
      });
    }
  }

  function add(found, product, score, column) {
    if (found.scores[product] >= score) return;
    if (!found.scores[product]) found.count++;
    found.scores[product] = score;
    found.columns[product] = column;
  }

  function inList(found, ofName, ofDomain, ofOwner, ofSentence) {
    const domains = list.domains.map(ofDomain), owners = list.owners.map(ofOwner);
    list.products.forEach((product, at) => {
      const score = ofName(product) || domains[product.of] || owners[product.by] || ofSentence(product);
      if (score) add(found, at, score, null);
    });
  }

  // Words of other shards, for a term with a typo in its first two letters.
  function related(term) {
    if (!vocabulary) { load("words"); return []; }
    const rest = term.slice(2), own = shardOf(term);
    return vocabulary.filter((word) => (word.startsWith(rest, 2) || word.startsWith(rest, 1) || word.startsWith(rest, 3))
      && nearly(word, term) && shardOf(word) !== own).slice(0, RELATED);
  }

  // Every product that has a term, by position. Typos count where little else fits.
  function matches(term) {
    const shard = [...term].length > 1 ? shards.get(shardOf(term)) : null;
    if (kept.has(term)) return kept.get(term);
    const found = { scores: new Float64Array(list.products.length), columns: new Array(list.products.length), count: 0 };
    inList(found, (product) => inName(product, term), (domain) => inWords(domain.words, term, 50, 40),
      (owner) => inWords(owner.words, term, 45, 35), (product) => inSentence(product.said, term));
    if (shard) inShard(shard, found, term, (word) => word.startsWith(term), 48, 22);
    if (found.count < FEW && term.length >= FORGIVEN) {
      const tried = new Map();
      const near = (word) => {
        if (!tried.has(word)) tried.set(word, nearly(word, term));
        return tried.get(word);
      };
      inList(found, (product) => (product.words.some(near) ? 30 : 0), (domain) => (domain.words.some(near) ? 20 : 0),
        (owner) => (owner.words.some(near) ? 15 : 0), () => 0);
      if (shard) inShard(shard, found, term, near, 18, 8);
      for (const word of related(term)) {
        const other = shardOf(word);
        if (shards.has(other)) inShard(shards.get(other), found, term, (each) => each === word, 18, 8);
        else load(other);
      }
    }
    if (kept.size > 20) kept.clear();
    kept.set(term, found);
    return found;
  }

  // Whether all that could match is here: a single letter says too little, and a shard may be on its way.
  function isKnown(term) { return [...term].length > 1 && shards.has(shardOf(term)); }

  function search(text) {
    const terms = words(text).slice(0, 6);
    if (!list || !terms.length) return null;
    const many = terms.join("").length > 2;
    for (const term of terms) if (many && [...term].length > 1) load(shardOf(term));
    const each = terms.map(matches), must = terms.map(isKnown);
    const keys = [];
    for (let at = 0; at < list.products.length; at++) {
      let score = 0;
      for (let term = 0; term < terms.length; term++) {
        const more = each[term].scores[at];
        if (!more && (must[term] || terms.length === 1)) { score = 0; break; }
        score += more;
      }
      // One whole number to sort by: comparing objects takes longer than all else.
      if (score) keys.push((1000 - score) * 1e6 + list.rank[at]);
    }
    const sorted = Float64Array.from(keys).sort();
    const products = [...sorted.subarray(0, MOST)].map((key) => {
      const at = list.order[Math.round(key % 1e6)];
      return { product: list.products[at], column: each.map((found) => found.columns[at]).find(Boolean)?.[0] || "" };
    });
    const whole = terms.join(" ");
    const domains = list.domains.filter((each) => words(each.name).join(" ").startsWith(whole));
    return { terms, domains: domains.slice(0, 3), count: sorted.length, products };
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

  // The states of a domain's products on the home page, by the clock of the reader.
  function count() {
    for (const place of document.querySelectorAll("[data-states-of]")) {
      const fresh = place.querySelector("[data-state=fresh] strong"), late = place.querySelector("[data-state=late] strong");
      const now = list.products.filter((each) => list.domains[each.of].name === place.dataset.statesOf);
      const turned = now.filter((each) => each.state === "late").length - Number(late.textContent);
      if (turned <= 0) continue;
      for (const [number, more] of [[fresh, -turned], [late, turned]]) {
        number.textContent = Number(number.textContent) + more;
        number.parentElement.hidden = number.textContent === "0";
      }
    }
  }

  function domainOptions(found) {
    return found.domains.map((domain, at) => option(`domains/${encodeURIComponent(domain.name)}.html`, at, [
      element("b", "", ...marked(domain.name, found.terms)), element("span", "tag", "domain"), element("small", "", domain.says),
    ]));
  }

  function productOptions(found, from, to) {
    const shown = [];
    for (const { product, column } of found.products.slice(from, to)) {
      const page = `products/${encodeURIComponent(list.domains[product.of].name)}/${encodeURIComponent(product.file)}.html`;
      const small = column ? element("small", "", "column ", ...marked(column, found.terms)) : element("small", "", ...marked(product.says, found.terms));
      const anchor = column ? `#c-${encodeURIComponent(column.slice(0, 80).toLowerCase().replace(/[^\p{L}\p{N}_]+/gu, "-"))}` : "";
      shown.push(option(page + anchor, found.domains.length + from + shown.length, [
        element("b", "", ...marked(product.name, found.terms)),
        element("span", `badge ${KINDS[product.state] || "none"}`, product.state), small,
      ]));
    }
    return shown;
  }

  function begin(box) {
    const input = box.querySelector("input"), results = box.querySelector("[role=listbox]");
    const status = box.querySelector("[data-found]");
    let chosen = -1, current = null;

    function close() {
      current = null;
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
      if (at) all[chosen].scrollIntoView({ block: "nearest" }); // asks for a layout, which takes 10 ms
      input.setAttribute("aria-activedescendant", all[chosen].id);
    }

    function show() {
      const found = search(input.value);
      if (!found) { close(); return; }
      const shown = [...domainOptions(found), ...productOptions(found, 0, SEEN)];
      chosen = -1;
      current = found;
      input.removeAttribute("aria-activedescendant");
      results.replaceChildren(...shown);
      results.hidden = !shown.length;
      results.scrollTop = 0;
      input.setAttribute("aria-expanded", `${shown.length > 0}`);
      status.textContent = !shown.length ? "Nothing found. Try part of a name, a column or an owner."
        : found.count > MOST ? `${found.count} products. The best ${MOST} are shown.`
          : `${found.count + found.domains.length} found.`;
      status.className = shown.length ? "unseen" : "quiet";
      if (shown.length) choose(0);
      // The rest is below what can be seen, and is drawn when the first results are.
      if (found.products.length > SEEN) {
        setTimeout(() => { if (current === found) results.append(...productOptions(found, SEEN, MOST)); }, 30);
      }
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
