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

  function refresh() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-age]")) {
      if (!time.title) time.title = time.textContent;
      time.textContent = age((now - Date.parse(time.dateTime)) / 1000);
    }
    // A page that was made yesterday must not say "fresh" today.
    for (const badge of document.querySelectorAll("[data-late]")) {
      if (now > Date.parse(badge.dataset.late)) {
        badge.textContent = "late";
        badge.classList.replace("good", "warn");
      }
    }
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
