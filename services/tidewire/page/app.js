// The page of `tidewire dev`: a client of the documented mode over a plain WebSocket.
// Nothing here is markup: every text goes through textContent.
"use strict";

import { startAlerts } from "./alerts.js";
import { clock, has, make, onBoard, shortTime, voyages } from "./board.js";
import { CLOSES, Link, pageOf } from "./link.js";

const EVENTS_MAX = 80;
const TYPES_MAX = 200;
const TYPES_SHOWN = 8;
const SEEN_MAX = 2000;
const RAW_CHARS_MAX = 20000;
const QUIET_MS = 1500;
const TO_BE_SENT = "Will be sent when the socket is open.";

const $ = (id) => document.getElementById(id);
const pretty = (value) => JSON.stringify(value, null, 2);

// ---------------------------------------------------------------- field lists

const LOGS = { event: { eventCode: "*" }, eventLogDate: "*", isDateFixed: "*" };
const CALL = { portCallSequence: "*", port: { portName: "*" }, reasonForCall: { reasonForCallDesc: "*" } };
const VOYAGE = {
  referenceNo: "*", vessel: { vesselName: "*" }, voyageHeader: { voyageNo: "*", voyageStatus: { statusTypeCode: "*", statusTypeDesc: "*" } },
  daysTotal: "*", daysTotalAtSea: "*", voyageResult: "*",
};

const FIELD_LISTS = {
  "*": {
    ...VOYAGE, portCalls: { portCallSequence: "*", port: { portName: "*" } },
    voyageStatus: { statusTypeCode: "*", statusTypeDesc: "*" }, voyage: { referenceNo: "*" },
    ...CALL, eventLogs: LOGS, ...LOGS, portCall: { voyage: { key: "*" } },
    commodity: "*", documentNo: "*", documentAmount: "*", quantity: "*", rate: "*",
  },
  Voyage: {
    ...VOYAGE, comments: "*",
    portCalls: { ...CALL, voyage: { referenceNo: "*" }, eventLogs: { ...LOGS, portCall: { voyage: { key: "*" } } } },
    cargos: { commodity: "*", voyage: { referenceNo: "*" } },
  },
  VoyageHeader: {
    referenceNo: "*", voyageNo: "*", voyageStatus: { statusTypeCode: "*", statusTypeDesc: "*" },
    voyage: { ...VOYAGE, portCalls: { ...CALL, voyage: { referenceNo: "*" }, eventLogs: LOGS } },
  },
  PortCall: { ...CALL, voyage: { referenceNo: "*" }, eventLogs: LOGS },
};
const TYPES = ["*", "Voyage", "VoyageHeader", "PortCall", "EventLog", "Cargo", "CargoPort", "BunkerOrder",
  "BunkerOrderLine", "Document", "DocumentLine", "Vessel", "Port", "BusinessPartner", "ExchangeRate"];

const fieldListOf = (type) => pretty(FIELD_LISTS[type] || { "*": "*" });

// ---------------------------------------------------------------- connection

let asked = { type: "*", events: "*", key: "*", onlyMain: false };
// The list that was sent last, and the last one that was not refused.
let fieldsSent = fieldListOf("*");
let fieldsInForce = fieldsSent;
let lastError = "";

// The server keeps position and field list under this name: a connection that comes back misses nothing.
const session = `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;

function urlOf({ type, events, key, onlyMain }) {
  const part = (text) => text.split(",").map((one) => encodeURIComponent(one.trim())).join(",");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const path = ["WebSocketObjectSubscription", part(type), part(events), part(key), "-"].join("/");
  const query = `session=${session}&refuse=close${onlyMain ? "&onlyMainObject=true" : ""}`;
  return `${scheme}//${location.host}/ws/rest/${path}?${query}`;
}

const link = new Link(() => urlOf(asked), {
  onOpen() {
    lastError = "";
    sendFields(fieldsSent);
  },
  onMessage,
  onClose: showClose,
  onState(state, text, detail) {
    $("link").dataset.state = state;
    // Said anew only when it changes: a countdown that is read out helps nobody.
    if ($("link-state").textContent !== text) $("link-state").textContent = text;
    $("link-detail").textContent = detail;
    $("link-button").textContent = link.isWanted && !link.isWaiting ? "Disconnect" : "Connect now";
    $("reconnects").textContent = Math.max(0, link.connects - 1);
  },
});

function showClose(close) {
  const note = $("close-note");
  note.hidden = !close;
  if (!close) {
    note.replaceChildren();
    return;
  }
  showFields("", TO_BE_SENT);
  const [name, meaning] = CLOSES[close.code] || [close.reason || "closed", "a code that this page does not know"];
  const next = {
    stop: "Trying again would bring the same answer: change what is asked for, then subscribe.",
    now: "The page connects again at once, or after the time that the server named.",
    backoff: "The page tries again, waiting longer each time.",
  }[close.advice.kind];
  const page = pageOf(close.code);
  const said = lastError && close.advice.kind === "stop" ? ` The server says: “${lastError}”.` : "";
  note.replaceChildren(make("strong", "", `${close.code} ${name}`), `: ${meaning}.${said} ${next}`);
  if (page) note.append(" See ", make("code", "", page), ".");
}

// ---------------------------------------------------------------- messages

const seen = new Set();
const counts = new Map();
const perSecond = new Array(60).fill(0);
let total = 0;
let paused = false;
let lastRaw = "";

function onMessage(text) {
  lastRaw = text;
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return;
  }
  if (message.statusCode) return onNotice(message);
  const shown = message.dataloyObject;
  const object = shown !== null && typeof shown === "object" ? shown : { key: shown };
  const identity = `${message.id} ${message.objectType} ${object.key}`;
  if (seen.has(identity)) return;
  seen.add(identity);
  if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value);
  total += 1;
  perSecond[perSecond.length - 1] += 1;
  if (counts.has(message.objectType) || counts.size < TYPES_MAX) {
    counts.set(message.objectType, (counts.get(message.objectType) || 0) + 1);
  }
  const voyage = onBoard(message, object);
  if (!paused) addEvent(message, object, voyage);
}

function onNotice(notice) {
  lastError = notice.message;
  if (notice.message === "session resumed") return addNotice("resumed: what came meanwhile follows");
  if (notice.statusCode === 410) {
    // A topic that was made anew counts its ids from 0.
    seen.clear();
    const isNew = notice.message === "session starts now" && link.connects <= 1;
    return isNew ? undefined : addNotice(`${notice.message}: changes may be missing`);
  }
  if (notice.statusCode === 400 || notice.statusCode === 401) {
    fieldsSent = fieldsInForce;
    return showFields("bad", `Refused, ${notice.statusCode}: ${notice.message}. The list before it stays in force.`);
  }
  addNotice(`${notice.statusCode} ${notice.message}`);
}

// ---------------------------------------------------------------- feed

function addEvent({ eventType, objectType, eventTime }, object, voyage) {
  const item = make("li", "");
  item.append(
    make("time", "", clock(eventTime)),
    make("span", `op op-${["C", "U", "D"].includes(eventType) ? eventType : "U"}`, eventType),
    make("span", "what", objectType),
    about(object, voyage),
  );
  addItem(item);
}

function addNotice(text) {
  addItem(make("li", "notice", text));
}

function addItem(item) {
  const list = $("events");
  list.prepend(item);
  while (list.childElementCount > EVENTS_MAX) list.lastElementChild.remove();
}

// A few words about an object, from what the field list shows of it.
function about(object, voyage) {
  const words = [];
  const say = (word) => word !== undefined && word !== null && typeof word !== "object" && words.push(String(word));
  say(object.referenceNo);
  if (has(object, "vessel")) say(object.vessel.vesselName);
  if (has(object, "event")) say(object.event.eventCode);
  say(object.eventLogDate && shortTime(object.eventLogDate));
  if (has(object, "port")) say(object.port.portName);
  for (const name of ["commodity", "documentNo", "documentAmount", "quantity", "rate"]) say(object[name]);
  if (has(object, "voyageStatus")) say(object.voyageStatus.statusTypeDesc);
  if (!object.referenceNo && voyage) say(voyage.referenceNo);
  if (!words.length) say(`key ${object.key}`);
  const line = make("span", "about");
  words.forEach((word, index) => line.append(index ? " · " : "", make("span", "", word)));
  return line;
}

// ---------------------------------------------------------------- field list and subscription

let fieldsTimer = 0;

function sendFields(text) {
  // An empty message is a keep-alive to the server; an empty list is what is meant.
  fieldsSent = text.trim() || "{}";
  if (!link.send(fieldsSent)) {
    showFields("", TO_BE_SENT);
    return;
  }
  showFields("", "Sent. Only a refusal is answered.");
  fieldsTimer = setTimeout(() => {
    fieldsInForce = fieldsSent;
    showFields("good", "In force: no refusal came.");
  }, QUIET_MS);
}

function showFields(state, text) {
  clearTimeout(fieldsTimer);
  $("fields-state").dataset.state = state;
  $("fields-state").textContent = text;
}

function readForm() {
  const marked = [...document.querySelectorAll("input[name=event]:checked")].map((box) => box.value);
  const events = marked.length === 3 ? "*" : marked.join(",");
  return { type: $("type").value.trim(), events, key: $("key").value.trim(), onlyMain: $("only-main").checked };
}

function showUrl() {
  const form = readForm();
  const box = document.querySelector("input[name=event]");
  box.setCustomValidity(form.events ? "" : "Choose at least one kind of event.");
  $("url").textContent = urlOf({ ...form, events: form.events || "…" });
}

function subscribe(event) {
  event.preventDefault();
  const former = asked;
  asked = readForm();
  // A list that nobody touched follows the type.
  if ($("fields").value === fieldListOf(former.type)) $("fields").value = fieldListOf(asked.type);
  fieldsSent = $("fields").value.trim() || "{}";
  showFields("", TO_BE_SENT);
  const sees = asked.type === "*" || FIELD_LISTS[asked.type];
  $("board-note").textContent = sees ? "A voyage appears with its first change."
    : `This socket brings ${asked.type} only: the board stands still.`;
  link.restart();
}

// Counters, the last message and the countdown are drawn a few times a second, however much comes.
function tick() {
  link.tick();
  $("total").textContent = total.toLocaleString("en-GB");
  $("voyages").textContent = voyages.size;
  $("empty").hidden = voyages.size > 0;
  if ($("raw").dataset.shown !== lastRaw && !paused) {
    $("raw").dataset.shown = lastRaw;
    $("raw").textContent = lastRaw.slice(0, RAW_CHARS_MAX);
  }
}

function tickSecond() {
  const recent = perSecond.slice(-10);
  $("rate").textContent = (recent.reduce((sum, count) => sum + count, 0) / recent.length).toFixed(1);
  drawTide();
  perSecond.push(0);
  perSecond.shift();
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const rest = sorted.splice(TYPES_SHOWN).reduce((sum, [, count]) => sum + count, 0);
  if (rest) sorted.push(["others", rest]);
  $("types").replaceChildren(...sorted.map(([type, count]) => {
    const item = make("li", "", type);
    item.append(make("b", "", count.toLocaleString("en-GB")));
    return item;
  }));
}

function drawTide() {
  const top = Math.max(4, ...perSecond);
  const points = perSecond.map((count, second) => `${(second * 60) / 59},${(18.5 - (count / top) * 16).toFixed(2)}`);
  $("tide-line").setAttribute("d", `M${points.join("L")}`);
  $("tide-area").setAttribute("d", `M0,20L${points.join("L")}L60,20Z`);
}

// ---------------------------------------------------------------- start

function start() {
  $("fields").value = fieldsSent;
  $("type-names").append(...TYPES.map((name) => Object.assign(make("option"), { value: name })));
  $("subscription").addEventListener("input", showUrl);
  $("subscription").addEventListener("submit", subscribe);
  $("field-list").addEventListener("submit", (event) => {
    event.preventDefault();
    sendFields($("fields").value);
  });
  $("fields").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendFields($("fields").value);
  });
  $("fields-none").addEventListener("click", () => {
    $("fields").value = "{}";
    sendFields("{}");
  });
  $("fields-reset").addEventListener("click", () => {
    $("fields").value = fieldListOf(asked.type);
    sendFields($("fields").value);
  });
  $("link-button").addEventListener("click", () => {
    if (link.isWanted && !link.isWaiting) link.stop();
    else link.connect();
  });
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
  });
  addEventListener("online", () => link.isWaiting && link.connect());
  showUrl();
  setInterval(tick, 200);
  setInterval(tickSecond, 1000);
  drawTide();
  link.connect();
  startAlerts();
}

start();
