// Loads the page again when a template has changed. Without it everything else works.
"use strict";

const { changes, fingerprint } = document.currentScript.dataset;
let asking = false;

setInterval(async () => {
  if (document.hidden || asking) return;
  asking = true;
  try {
    const answer = await fetch(changes, { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== fingerprint) location.reload();
  } catch {
    // the server is starting again
  } finally {
    asking = false;
  }
}, 1000);
