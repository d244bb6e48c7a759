// What every page does where scripts run: ages of times, states that end, copying, search keys.
// Pages are complete without it. Classic scripts only, because file:// forbids modules.
"use strict";
(function () {
  const units = [["year", 31536000, "s"], ["month", 2592000, "s"], ["day", 86400, "s"], ["h", 3600, ""], ["min", 60, ""]];

  function age(seconds) {
    const away = Math.abs(seconds);
    if (away < 60) return seconds < 0 ? "in a minute" : "just now";
    const [unit, size, many] = units.find(([, size]) => away >= size);
    const number = Math.floor(away / size);
    const said = `${number} ${unit}${number > 1 ? many : ""}`;
    return seconds < 0 ? `in ${said}` : `${said} ago`;
  }

  function turnLate(badge) {
    badge.textContent = badge.dataset.then || "late";
    badge.classList.remove("good", "none");
    badge.classList.add(badge.dataset.then ? "bad" : "warn");
    badge.closest("tr[data-state]")?.setAttribute("data-state", "late");
    const node = badge.closest(".node");
    if (!node || node.classList.contains("late")) return;
    node.classList.add("late");
    const title = node.querySelector("title");
    title.textContent = title.textContent.replace(/: product, fresh/, ": product, late");
    // The stripes of drawing.py.
    const box = node.querySelector(".box");
    const [x, y, height] = ["x", "y", "height"].map((name) => Number(box.getAttribute(name)));
    const stripes = document.createElementNS("http://www.w3.org/2000/svg", "path");
    stripes.setAttribute("class", "stripe");
    stripes.setAttribute("d", Array.from({ length: Math.max(0, Math.floor(height / 6) - 1) },
      (_, number) => `M${x + 1.5} ${y + 10 + number * 6}l6 -5`).join(""));
    box.after(stripes);
  }

  // The operations page has a hidden row for each product whose promise ends.
  function needAttention(now) {
    const list = document.querySelector("[data-attention]");
    if (!list) return;
    let hidden = 0;
    for (const row of list.querySelectorAll("[data-soon]")) row.hidden = now <= Date.parse(row.dataset.soon);
    const more = list.querySelector("[data-soon-more]");
    for (const end of more.dataset.soonMore.split(" ").filter(Boolean)) hidden += now > 1000 * Number(end);
    more.hidden = !hidden;
    more.textContent = `and ${hidden.toLocaleString("en")} more late`;
    const turned = list.querySelectorAll("[data-soon]:not([hidden])").length + hidden;
    list.hidden = !turned && !list.querySelector("tbody tr:not([data-soon])");
    const calm = document.querySelector("[data-calm]");
    if (calm) calm.hidden = turned > 0;
    const count = document.querySelector("[data-attention-count]");
    if (!count) return;
    count.dataset.made ||= count.textContent.replace(/,/g, "");
    count.textContent = (Number(count.dataset.made) + turned).toLocaleString("en");
  }

  // When the facts were gathered: built.js says it, so that pages need not change with each build.
  function asOf(now) {
    const at = Date.parse(document.documentElement.dataset.built);
    const place = document.querySelector("[data-as-of]");
    if (!place || !at) return;
    const old = now - at > 86400000;
    const time = new Date(at).toISOString().slice(0, 16).replace("T", " ");
    place.textContent = `As of ${time} UTC, ${age((now - at) / 1000)}.`;
    if (old) place.textContent += " This catalog is older than a day: mesh catalog build brings it up to date.";
    place.classList.toggle("old", old);
  }

  function refresh() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-age]")) {
      if (!time.title) time.title = time.textContent;
      time.textContent = age((now - Date.parse(time.dateTime)) / 1000);
    }
    // A page that was made yesterday must not say "fresh" today.
    for (const badge of document.querySelectorAll("[data-late]")) {
      badge.querySelector(".until")?.remove();
      if (now > Date.parse(badge.dataset.late)) turnLate(badge);
    }
    needAttention(now);
    asOf(now);
    for (const note of document.querySelectorAll("[data-recent]")) {
      const day = [...document.querySelectorAll(note.dataset.recent)]
        .filter((each) => now - Date.parse(each.dataset.at) < 86400000).length;
      note.textContent = `${day || "None"} in the last 24 hours.`;
      note.hidden = false;
    }
  }

  function copied(button, done) {
    const before = button.firstChild.data;
    button.firstChild.data = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.firstChild.data = before; }, 2000);
  }

  function selectText(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch {
      // Without a secure address there is no clipboard; the selected text can be copied by key.
      selectText(code);
      done = document.execCommand("copy");
    }
    copied(button, done);
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  const built = document.createElement("script");
  built.src = `${document.documentElement.dataset.root || ""}assets/built.js`;
  built.onload = () => asOf(Date.now());
  document.head.append(built);
  refresh();
  setInterval(refresh, 60000);

  // The section that is read, in the list of sections.
  const links = new Map([...document.querySelectorAll(".contents a")]
    .map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
  if (links.size && "IntersectionObserver" in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.classList.remove("here");
        links.get(entry.target.querySelector("h2").id)?.classList.add("here");
      }
    }, { rootMargin: "-15% 0px -75% 0px" });
    for (const section of document.querySelectorAll(".sections > section")) seen.observe(section);
  }
})();
