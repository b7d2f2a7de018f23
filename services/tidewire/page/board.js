// The board: what the messages tell of each voyage, and its row. It keeps what it heard and asks nobody.
"use strict";

const ROWS_MAX = 200;

const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

export function flash(element, variable) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue(variable);
  const frames = [{ backgroundColor: colour }, { backgroundColor: colour, offset: still.matches ? 0.99 : 0.2 }, {}];
  element.animate(frames, { duration: 1600, easing: "ease-out" });
}

const whole = (value) => Math.round(value).toLocaleString("en-GB");
export const clock = (time) => String(time).slice(11, 19);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// `2026-09-14T13:37:26` as `14 Sep 13:37`: a time without a zone is not for the browser's calendar.
export function shortTime(time) {
  const parts = /^\d{4}-(\d\d)-(\d\d)T(\d\d:\d\d)/.exec(time);
  return parts ? `${Number(parts[2])} ${MONTHS[parts[1] - 1] || parts[1]} ${parts[3]}` : String(time);
}

export const voyages = new Map(); // key -> voyage
const voyageOfCall = new Map(); // port call -> voyage key
const voyageOfHeader = new Map(); // voyage header -> voyage key
const callOfLog = new Map(); // event log -> port call

const keyOf = (reference) => (reference && typeof reference === "object" ? reference.key : reference);
export const has = (object, name) => object[name] !== undefined && object[name] !== null;

// Which voyage a change belongs to, as far as the message or an earlier one tells.
function voyageKeyOf(type, object) {
  if (type === "Voyage") return object.key;
  if (type === "VoyageHeader") return keyOf(object.voyage) ?? voyageOfHeader.get(object.key);
  if (type === "PortCall") return keyOf(object.voyage) ?? voyageOfCall.get(object.key);
  const call = keyOf(object.portCall) ?? callOfLog.get(object.key);
  if (has(object, "voyage")) return keyOf(object.voyage);
  if (has(object, "portCall") && has(object.portCall, "voyage")) return keyOf(object.portCall.voyage);
  return voyageOfCall.get(call);
}

// Takes one message. Returns the voyage that it belongs to, or null.
export function onBoard({ objectType: type, eventType, eventTime }, object) {
  const key = voyageKeyOf(type, object);
  if (key === undefined || key === null) return null;
  if (type === "Voyage" && eventType === "D") return removeVoyage(key);
  const change = { Voyage: takeVoyage, VoyageHeader: takeHeader, PortCall: takeCall, EventLog: takeLog }[type];
  // What else tells of a voyage (a cargo, a bunker order) tells too little for a row.
  // A header that is deleted comes after its voyage was.
  const voyage = voyages.get(key) || (change && eventType !== "D" && addVoyage(key));
  if (!voyage) return null;
  if (change) change(voyage, object, eventType);
  voyage.last = { type, eventType, eventTime };
  drawVoyage(voyage);
  return voyage;
}

function takeVoyage(voyage, object) {
  for (const name of ["referenceNo", "daysTotal", "daysTotalAtSea", "voyageResult"]) {
    if (object[name] !== undefined) voyage[name] = object[name];
  }
  if (has(object, "vessel") && object.vessel.vesselName) voyage.vesselName = object.vessel.vesselName;
  if (has(object, "voyageHeader")) {
    voyageOfHeader.set(keyOf(object.voyageHeader), voyage.key);
    if (has(object.voyageHeader, "voyageStatus")) voyage.status = object.voyageHeader.voyageStatus;
  }
  if (!Array.isArray(object.portCalls)) return;
  const former = voyage.calls;
  voyage.calls = new Map();
  for (const call of object.portCalls) {
    voyage.calls.set(call.key, former.get(call.key) || { key: call.key });
    takeCall(voyage, call, "U");
  }
}

function takeHeader(voyage, object) {
  voyageOfHeader.set(object.key, voyage.key);
  if (object.referenceNo) voyage.referenceNo = object.referenceNo;
  if (has(object, "voyageStatus")) voyage.status = object.voyageStatus;
}

function takeCall(voyage, object, eventType) {
  if (eventType === "D") {
    voyage.calls.delete(object.key);
    voyageOfCall.delete(object.key);
    return;
  }
  const call = voyage.calls.get(object.key) || { key: object.key };
  voyage.calls.set(object.key, call);
  voyageOfCall.set(object.key, voyage.key);
  if (has(object, "voyage") && object.voyage.referenceNo) voyage.referenceNo = object.voyage.referenceNo;
  if (has(object, "portCallSequence")) call.sequence = object.portCallSequence;
  if (has(object, "port") && object.port.portName) call.port = object.port.portName;
  if (has(object, "reasonForCall")) call.reason = object.reasonForCall.reasonForCallDesc;
  for (const log of object.eventLogs || []) {
    callOfLog.set(log.key, object.key);
    takeLogOf(call, log);
  }
}

function takeLog(voyage, object) {
  const key = keyOf(object.portCall) ?? callOfLog.get(object.key);
  const call = voyage.calls.get(key);
  if (!call) return;
  callOfLog.set(object.key, key);
  takeLogOf(call, object);
}

function takeLogOf(call, { event, eventLogDate, isDateFixed }) {
  if (!event || !eventLogDate) return;
  call[event.eventCode] = { at: eventLogDate, isFact: isDateFixed === true };
}

// The call that the ship is bound for or lies at: the first that it is known not to have left.
function currentCall(voyage) {
  const calls = [...voyage.calls.values()].sort((a, b) => (a.sequence || 0) - (b.sequence || 0));
  const left = calls.findLastIndex((call) => call.DEP && call.DEP.isFact);
  const ahead = calls.slice(left + 1);
  const call = ahead.find((one) => one.ARR) || ahead[0];
  return { call, place: calls.indexOf(call) + 1, of: calls.length, isDone: calls.length > 0 && !call };
}

function addVoyage(key) {
  if (voyages.size >= ROWS_MAX) removeVoyage(voyages.keys().next().value);
  const row = make("tr", "");
  row.setAttribute("role", "row");
  const labels = ["Vessel, voyage", "Status", "Next port", "ETA, UTC", "Days", "Result, USD", "Last event"];
  const cells = labels.map((label, index) => {
    const cell = make(index === 0 ? "th" : "td", index === 4 || index === 5 ? "number" : "");
    cell.setAttribute("role", index === 0 ? "rowheader" : "cell");
    if (index === 0) cell.scope = "row";
    cell.dataset.label = label;
    const main = cell.appendChild(make("span", "main", "–"));
    const sub = cell.appendChild(make("span", "sub", ""));
    row.append(cell);
    return { cell, main, sub };
  });
  const voyage = { key, calls: new Map(), row, cells, isNew: true };
  voyages.set(key, voyage);
  return voyage;
}

function removeVoyage(key) {
  const voyage = voyages.get(key);
  if (!voyage) return null;
  voyages.delete(key);
  for (const map of [voyageOfCall, voyageOfHeader]) {
    for (const [other, of] of map) if (of === key) map.delete(other);
  }
  for (const [log, call] of callOfLog) if (voyage.calls.has(call)) callOfLog.delete(log);
  voyage.row.remove();
  return voyage;
}

function drawVoyage(voyage) {
  const [name, status, port, eta, days, result, last] = voyage.cells;
  const { call, place, of, isDone } = currentCall(voyage);
  const reference = voyage.referenceNo || `Voyage ${voyage.key}`;
  put(voyage, name, voyage.vesselName || reference, voyage.vesselName ? reference : "");
  const code = voyage.status && voyage.status.statusTypeCode;
  put(voyage, status, code || "–", (voyage.status && voyage.status.statusTypeDesc) || "");
  status.main.className = code ? `main chip chip-${code}` : "main";
  const stage = isDone ? "all calls done" : [call && call.reason, of && `call ${place} of ${of}`].filter(Boolean).join(", ");
  put(voyage, port, (call && call.port) || (isDone ? "completed" : "–"), stage);
  const arrival = call && call.ARR;
  put(voyage, eta, arrival ? shortTime(arrival.at) : "–", etaState(call));
  put(voyage, days, has(voyage, "daysTotal") ? Number(voyage.daysTotal).toFixed(1) : "–",
    has(voyage, "daysTotalAtSea") ? `${Number(voyage.daysTotalAtSea).toFixed(1)} at sea` : "");
  drawResult(voyage, result);
  const { type, eventType, eventTime } = voyage.last;
  const verb = { C: "created", U: "updated", D: "deleted" }[eventType] || eventType;
  put(voyage, last, type, `${verb} ${clock(eventTime)}`, true);
  if (voyage.isNew || voyage.place !== voyage.referenceNo) placeRow(voyage);
  voyage.isNew = false;
}

function etaState(call) {
  if (!call || !call.ARR) return "";
  if (call.BRT && call.BRT.isFact) return "berthed";
  return call.ARR.isFact ? "arrived" : "estimated";
}

function drawResult(voyage, cells) {
  const value = has(voyage, "voyageResult") ? Number(voyage.voyageResult) : NaN;
  if (Number.isNaN(value)) return;
  const delta = voyage.shownResult === undefined ? 0 : value - voyage.shownResult;
  voyage.shownResult = value;
  if (delta === 0 && cells.main.textContent !== "–") return;
  const sign = delta > 0 ? "▲ " : "▼ ";
  put(voyage, cells, whole(value), delta ? sign + whole(Math.abs(delta)) : "", true);
  cells.sub.className = delta === 0 ? "sub" : `sub ${delta > 0 ? "up" : "down"}`;
  if (delta !== 0) flash(cells.cell, delta > 0 ? "--up" : "--down");
}

// Sets a cell's texts; a change is seen for a moment.
function put(voyage, { cell, main, sub }, text, subText, quiet) {
  const changed = main.textContent !== text || sub.textContent !== subText;
  if (!changed) return;
  main.textContent = text;
  sub.textContent = subText;
  if (!quiet) flash(cell, "--flash");
}

// Rows stand by vessel and voyage, so that none jumps when it changes.
function placeRow(voyage) {
  voyage.place = voyage.referenceNo;
  const name = (one) => one.referenceNo || `~${one.key}`;
  const next = [...voyages.values()]
    .filter((one) => one !== voyage && one.row.isConnected && name(one) > name(voyage))
    .sort((a, b) => (name(a) < name(b) ? -1 : 1))[0];
  $("rows").insertBefore(voyage.row, next ? next.row : null);
}
