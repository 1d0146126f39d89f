"use strict";
// Without this script the page still reads: bubbles are links to their rows, with their details as titles.
(() => {
  const plot = document.querySelector(".plot");
  if (!plot) return;
  const tip = document.getElementById("tip");
  const bubbles = [...plot.querySelectorAll(".bubble")];
  const across = (bubble) => Number(bubble.querySelector(".area").getAttribute("cx"));
  const inOrder = [...bubbles].sort((a, b) => across(a) - across(b));
  const rowOf = (bubble) => document.getElementById(bubble.getAttribute("href").slice(1));
  let shown = null;

  const hide = () => {
    if (!shown) return;
    shown.classList.remove("shown");
    rowOf(shown).classList.remove("shown");
    tip.hidden = true;
    shown = null;
  };
  const mark = (bubble) => {
    hide();
    shown = bubble;
    bubble.classList.add("shown");
    rowOf(bubble).classList.add("shown");
  };
  const show = (bubble) => {
    mark(bubble);
    tip.textContent = bubble.details;
    tip.hidden = false;
    const box = bubble.querySelector(".area").getBoundingClientRect();
    const frame = plot.getBoundingClientRect();
    const middle = box.left + box.width / 2 - frame.left - tip.offsetWidth / 2;
    const most = plot.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(middle, most)) + plot.scrollLeft}px`;
    const above = box.top - frame.top - tip.offsetHeight - 8;
    tip.style.top = `${above >= 0 ? above : box.bottom - frame.top + 8}px`;
  };

  for (const bubble of bubbles) {
    const title = bubble.querySelector("title");
    bubble.details = title.textContent;
    title.remove(); // else the browser would show it a second time
    bubble.addEventListener("pointerenter", () => show(bubble));
    bubble.addEventListener("pointerleave", hide);
    bubble.addEventListener("focus", () => show(bubble));
    bubble.addEventListener("blur", hide);
    const row = rowOf(bubble);
    row.addEventListener("pointerenter", () => mark(bubble));
    row.addEventListener("pointerleave", hide);
  }

  // The chart is one stop for the tabulator key; within it, the arrows go from bubble to bubble.
  inOrder.forEach((bubble, place) => bubble.setAttribute("tabindex", place ? "-1" : "0"));
  plot.addEventListener("keydown", (event) => {
    const place = inOrder.indexOf(event.target.closest(".bubble"));
    const next = { ArrowRight: place + 1, ArrowUp: place + 1, ArrowLeft: place - 1, ArrowDown: place - 1, Home: 0, End: inOrder.length - 1 }[event.key];
    if (event.key === "Escape") hide();
    if (place < 0 || next === undefined || !inOrder[next]) return;
    event.preventDefault();
    inOrder[place].setAttribute("tabindex", "-1");
    inOrder[next].setAttribute("tabindex", "0");
    inOrder[next].focus({ preventScroll: true });
  });
})();

(() => {
  const table = document.querySelector(".compared");
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      const key = (row) => row.cells[column].dataset.by;
      const compare = head.dataset.numeric ? (a, b) => key(a) - key(b) : (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const rows = [...table.tBodies[0].rows].sort((a, b) => (rising ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    });
  });
})();
