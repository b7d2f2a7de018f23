// The panel of alerts: one socket for each script that the registry lists, in the documented mode. A script
// that is saved or deleted while the page is open comes and goes with the next look at the registry.
"use strict";

import { clock, flash, make } from "./board.js";
import { Link, fetchToken } from "./link.js";

const REGISTRY = "/ws/rest/DLPAlertScript";
const LOOK_MS = 5000;
const WAIT_MS = 10000;
const RENEW_BEFORE_S = 120;
const SCRIPTS_MAX = 30;
const ALERTS_MAX = 50;
const SEEN_MAX = 1000;
const NOT_FOUND = 404;

const $ = (id) => document.getElementById(id);
// code -> { link, count, chip }
const scripts = new Map();
const seen = new Set();
let total = 0;
let token = null;
let renewAt = 0;

async function list() {
  if (!token || performance.now() > renewAt) {
    const fresh = await fetchToken();
    token = fresh.token;
    renewAt = performance.now() + Math.max(fresh.expiresIn - RENEW_BEFORE_S, fresh.expiresIn / 2) * 1000;
  }
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${REGISTRY}?limit=${SCRIPTS_MAX}`, {
    headers, cache: "no-store", signal: AbortSignal.timeout(WAIT_MS),
  });
  if (answer.status === NOT_FOUND) return null;
  if (!answer.ok) {
    token = null;
    throw new Error(`status ${answer.status}`);
  }
  return (await answer.json()).scripts;
}

async function look() {
  try {
    const found = await list();
    $("alerts-panel").hidden = found === null;
    if (found) follow(found);
  } catch (error) {
    $("alerts-note").textContent = `The registry does not answer (${error.message}).`;
  }
  setTimeout(look, LOOK_MS);
}

function follow(found) {
  const codes = new Set(found.map((script) => script.code));
  for (const [code, { link, chip }] of scripts) {
    if (codes.has(code)) continue;
    link.stop();
    chip.remove();
    scripts.delete(code);
  }
  for (const script of found) {
    if (!scripts.has(script.code)) open(script.code);
    show(script);
  }
  $("alerts-note").textContent = found.length === 1 ? "1 script, run over each change" : `${found.length} scripts, run over each change`;
}

function open(code) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const session = `alerts-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
  const path = `/ws/rest/WebSocketAlertScript/${encodeURIComponent(code)}/-`;
  const url = `${scheme}//${location.host}${path}?session=${session}&refuse=close`;
  const chip = make("li", "", "");
  chip.append(make("span", "name", code), make("b", "", "0"));
  const link = new Link(() => url, {
    onOpen() {},
    onMessage: (text) => onMessage(code, text),
    onClose() {},
    onState(state, text) {
      chip.dataset.state = state;
      chip.title = state === "open" ? "" : text;
    },
  });
  scripts.set(code, { link, chip, count: 0 });
  $("alert-scripts").append(chip);
  link.connect();
}

function show({ code, name, state }) {
  const { chip } = scripts.get(code);
  const isOn = !state || state.enabled;
  const label = isOn ? name : `${name}: disabled`;
  const words = chip.querySelector(".name");
  if (words.textContent !== label) words.textContent = label;
  chip.classList.toggle("off", !isOn);
  if (!isOn) chip.title = `${state.error.kind}: ${state.error.reason}`;
}

function onMessage(code, text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return;
  }
  if (!message.alert) return;
  const identity = `${code} ${message.id}`;
  if (seen.has(identity)) return;
  seen.add(identity);
  if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value);
  const script = scripts.get(code);
  if (!script) return;
  script.count += 1;
  script.chip.querySelector("b").textContent = script.count.toLocaleString("en-GB");
  total += 1;
  $("alert-total").textContent = total.toLocaleString("en-GB");
  add(message);
}

function add({ eventTime, objectType, dataloyObject, alert }) {
  $("alerts-empty").hidden = true;
  const item = make("li", "");
  item.append(
    make("time", "", clock(eventTime)),
    make("span", "what", alert.subject || alert.name),
    make("span", "message", alert.message),
    make("span", "about", `${objectType} ${dataloyObject}`),
  );
  const alerts = $("alerts");
  alerts.prepend(item);
  flash(item, "--flash");
  while (alerts.childElementCount > ALERTS_MAX) alerts.lastElementChild.remove();
}

export function startAlerts() {
  look();
}
