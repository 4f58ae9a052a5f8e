// What the pages do more when script is allowed: tick all, count the ticks, and refresh by themselves.
// Without it everything works; nothing here changes mail.
"use strict";

const form = document.getElementById("mails");
if (form) tickAll(form);
const filter = document.getElementById("filter");
if (filter && matchMedia("(max-width: 46rem)").matches && !filter.querySelector("[aria-invalid]")) filter.open = false;
localTimes(document);
const region = document.querySelector("[data-live]");
if (region) refresh(Number(region.dataset.live) * 1000);

function tickAll(form) {
  const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
  const counter = document.getElementById("ticked");
  const scopes = [...form.querySelectorAll("input[name=scope]")];
  const ticked = scopes.find((scope) => scope.value === "ticked");
  const buttons = [...form.querySelectorAll(".bar button")];
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Tick all on this page");
  form.querySelector("th.tick").replaceChildren(all);
  const show = () => {
    const count = boxes.filter((box) => box.checked).length;
    counter.textContent = `(${count})`;
    for (const button of buttons) button.disabled = !count && ticked.checked;
    all.checked = count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    ticked.checked = true;
    show();
  });
  for (const box of boxes) box.addEventListener("change", () => { ticked.checked = true; show(); });
  for (const scope of scopes) scope.addEventListener("change", show);
  addEventListener("pageshow", show);  // Back restores the ticks after this script has run
  show();
}

// Figures and clock are replaced together or not at all; the age of what is shown runs on, whatever happens.
function refresh(every) {
  const clock = document.getElementById("live");
  const age = document.createElement("span");
  age.className = "muted small";
  age.id = "age";
  clock.after(age);
  const banner = document.createElement("div");
  banner.className = "notice bad frozen";
  banner.id = "frozen";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  document.querySelector(".title").after(banner);
  const why = document.createElement("strong");
  const since = document.createElement("span");
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "Load the page again";
  since.setAttribute("aria-live", "off");
  banner.append(why, " ", since, " ", again);

  const pause = document.createElement("button");
  pause.type = "button";
  let paused = false;
  let received = Date.now();
  let next;
  const label = () => { pause.textContent = paused ? "Start refreshing" : "Stop refreshing"; };
  pause.addEventListener("click", () => { paused = !paused; label(); tick(); });
  label();
  document.querySelector(".title").append(pause);

  const tick = () => {
    const seconds = Math.max(0, Math.round((Date.now() - received) / 1000));
    const waits = paused ? ", refreshing is stopped" : busy() ? ", not refreshed while you read" : "";
    age.textContent = `${spelled(seconds)} old${seconds > every / 500 ? waits : ""}`;
    since.textContent = `The figures below are those of ${clock.dataset.at}, ${spelled(seconds)} ago.`;
  };
  let touched = 0;
  for (const kind of ["pointerdown", "keydown", "selectionchange"]) {
    document.addEventListener(kind, () => { touched = Date.now(); });
  }
  const reads = () => !getSelection().isCollapsed || region.contains(document.activeElement);
  const busy = () => Date.now() - touched < 60000 && reads();
  const failed = (words) => {
    if (why.textContent !== words) why.textContent = words;
    tick();
    banner.hidden = false;
    document.body.classList.add("stale");
  };

  const once = async () => {
    if (!paused && !document.hidden && !busy()) {
      try {
        const page = await fresh();
        if (!paused && !busy()) {  // the reader may have begun meanwhile
          for (const selector of ["#live", "[data-live]"]) {
            document.querySelector(selector).replaceChildren(...page.querySelector(selector).childNodes);
          }
          clock.dataset.at = page.getElementById("live").dataset.at;
          received = Date.now();
          localTimes(document);
        }
        banner.hidden = true;
        why.textContent = "";
        document.body.classList.remove("stale");
        tick();
      } catch (error) {
        failed(error instanceof Frozen ? error.message : "Not up to date: the server does not answer.");
      }
    }
    next = setTimeout(once, every);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { clearTimeout(next); once(); } });
  tick();
  setInterval(tick, 1000);
  next = setTimeout(once, every);
}

class Frozen extends Error {}

async function fresh() {
  const response = await fetch(location.href, {
    headers: { Accept: "text/html" }, redirect: "manual", cache: "no-store", signal: AbortSignal.timeout(20000),
  });
  if (response.type === "opaqueredirect" || response.status === 401) {
    throw new Frozen("Not up to date: you are logged out.");
  }
  if (response.status === 403) throw new Frozen("Not up to date: you may not see this page any more.");
  if (!response.ok) throw new Frozen(`Not up to date: the server answered ${response.status}.`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!page.querySelector("#live") || !page.querySelector("[data-live]")) {
    throw new Frozen("Not up to date: the server answered with another page.");
  }
  return page;
}

function spelled(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

// The reader's own time first, UTC beside it.
function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(time.dateTime);
    if (isNaN(moment)) continue;
    time.dataset.local = "";
    const local = moment.toLocaleString(undefined, {
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
      hourCycle: "h23", timeZoneName: "short",
    });
    if (time.hasAttribute("data-exact")) {
      if (moment.getTimezoneOffset() !== 0) time.textContent = `${local} (${time.textContent})`;
      time.title = `${time.title} · ${local}`;
    } else {
      time.title = `${local} (${time.title})`;
    }
  }
}
