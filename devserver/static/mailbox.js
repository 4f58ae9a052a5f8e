// New mail appears by itself; not under the reader's hands: what has the focus or is selected stays where it is.
"use strict";

const EVERY = 2000;
const live = document.getElementById("live");

async function once() {
  const mails = document.getElementById("mails");
  const reads = document.hidden || !getSelection().isCollapsed || mails.contains(document.activeElement);
  if (!reads) {
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("mails");
      if (fresh.innerHTML !== mails.innerHTML && !mails.contains(document.activeElement)) {
        mails.replaceChildren(...fresh.childNodes);
      }
      live.textContent = "";
    } catch {
      live.textContent = "Not up to date: the local mail server does not answer.";
    }
  }
  setTimeout(once, EVERY);
}

setTimeout(once, EVERY);
