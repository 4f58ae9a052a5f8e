// What the pages do more when script is allowed: tick all, count the ticks, and refresh by themselves.
// Without it everything works; nothing here changes mail.
"use strict";

const form = document.getElementById("mails");
if (form) tickAll(form);
const filter = document.getElementById("filter");
if (filter && matchMedia("(max-width: 46rem)").matches) filter.open = false;
const region = document.querySelector("[data-live]");
if (region) refresh(Number(region.dataset.live) * 1000);

function tickAll(form) {
  const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
  const counter = document.getElementById("ticked");
  const ticked = form.querySelector("input[name=scope][value=ticked]");
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Tick all on this page");
  form.querySelector("th.tick").replaceChildren(all);
  const show = () => {
    const count = boxes.filter((box) => box.checked).length;
    counter.textContent = count ? `(${count})` : "";
    all.checked = count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    ticked.checked = true;
    show();
  });
  for (const box of boxes) box.addEventListener("change", () => { ticked.checked = true; show(); });
  show();
}

function refresh(every) {
  const pause = document.createElement("button");
  pause.type = "button";
  let paused = false;
  const label = () => { pause.textContent = paused ? "Go on updating" : "Pause updates"; };
  pause.addEventListener("click", () => { paused = !paused; label(); });
  label();
  document.querySelector(".title").append(pause);

  const once = async () => {
    const busy = paused || document.hidden || !getSelection().isCollapsed;
    if (!busy) {
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const selector of ["[data-live]", "#live"]) {
          const fresh = page.querySelector(selector);
          const stale = document.querySelector(selector);
          if (!fresh || !stale) throw new Error("not the same page any more");
          if (!stale.contains(document.activeElement)) stale.replaceChildren(...fresh.childNodes);
        }
        document.body.classList.remove("stale");
      } catch {
        document.body.classList.add("stale");
      }
    }
    setTimeout(once, every);
  };
  setTimeout(once, every);
}
