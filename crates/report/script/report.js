"use strict";
// The page is whole without this: it adds a search, buttons that copy, and
// unfolds everything for paper.
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  const filter = document.getElementById("filter");
  const search = document.getElementById("search");
  const matches = document.getElementById("matches");
  const rows = all("#routes tbody tr").map((row) => {
    const host = row.closest(".host");
    return { row, text: (host.querySelector(".names").textContent + " " + row.textContent).toLowerCase() };
  });
  const folds = all("#routes details").map((fold) => ({ fold, open: fold.open }));
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    for (const host of all("#routes .host")) host.hidden = !host.querySelector("tbody tr:not([hidden])");
    for (const { fold, open } of folds) {
      fold.hidden = !fold.querySelector("tbody tr:not([hidden])");
      fold.open = words.length ? !fold.hidden && count <= 200 : open;
    }
    matches.textContent = words.length ? `${count} of ${rows.length} routes` : "";
  };
  if (filter && rows.length > 1) {
    filter.hidden = false;
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, 80);
    });
  }

  if (navigator.clipboard) {
    for (const line of all("pre.copy")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy-button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(line.textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not allowed";
        }
        setTimeout(() => (button.textContent = "Copy"), 1500);
      });
      line.before(button);
    }
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
