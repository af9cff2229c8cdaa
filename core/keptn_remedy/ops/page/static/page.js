// The page without this script does all it must: it follows the journal, counts down, and shows that
// an order is under way.
"use strict";

const main = document.getElementById("main");
const live = document.getElementById("live");

function inWords(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  const now = Date.now();
  for (const each of document.querySelectorAll("time[data-ago]")) {
    const seconds = (now - Date.parse(each.dateTime)) / 1000;
    setText(each, seconds < 86400 * 7 ? `${inWords(seconds)} ago` : each.title);
  }
  for (const each of document.querySelectorAll("time[data-left]")) {
    const seconds = (Date.parse(each.dateTime) - now) / 1000;
    setText(each, seconds > 0 ? `in ${inWords(seconds)}` : "now");
  }
}

// A part stays as it is while somebody writes in it, or an order of it is under way.
function isInUse(part) {
  const focused = document.activeElement;
  const writes = focused && part.contains(focused) && /^(INPUT|SELECT|TEXTAREA)$/.test(focused.tagName);
  return writes || part.querySelector("[aria-busy=true]") !== null;
}

function replacePart(part, fresh) {
  if (part.dataset.html === fresh.outerHTML || isInUse(part)) return;
  const focus = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
  const next = document.importNode(fresh, true);
  next.dataset.html = fresh.outerHTML;
  part.replaceWith(next);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const there = main.querySelector(`[data-part="${part.dataset.part}"]`);
    if (there) replacePart(there, part);
  }
  const waiting = fresh.querySelector("[data-waiting]")?.dataset.waiting;
  const count = document.getElementById("waiting");
  if (waiting !== undefined && count) {
    count.hidden = waiting === "0";
    setText(count.firstElementChild, waiting);
  }
  tick();
}

let source = null;

function follow() {
  const at = document.body.dataset.live;
  if (!at || !window.EventSource) return;
  source = new EventSource(`/live?at=${encodeURIComponent(at)}`);
  source.onopen = () => setLive("live", "on");
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    setLive("not live", "off");
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => document.hidden || source || follow(), 10000);
    }
  };
}

function setLive(words, state) {
  setText(live, words);
  live.className = `live ${state}`;
}

// Browsers hold few connections to one server: a page that nobody sees gives its own up.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
    setLive("", "");
  } else if (!source) follow();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.getAttribute("aria-busy") === "true") {
    event.preventDefault();
    return;
  }
  const button = event.submitter || form.querySelector("button");
  const words = button?.dataset.running || form.dataset.running;
  form.setAttribute("aria-busy", "true");
  // Later: a disabled button would not be sent along.
  setTimeout(() => {
    for (const each of form.querySelectorAll("button")) each.disabled = true;
    if (button && words) setText(button, words);
  });
});

// Back from another page, the browser may show a form as it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// What was served counts as shown: the first update must not replace a button that is being pressed.
for (const part of main?.querySelectorAll("[data-part]") ?? []) part.dataset.html = part.outerHTML;
tick();
setInterval(tick, 1000);
follow();
