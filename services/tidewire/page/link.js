// One connection in the documented mode, kept alive: token, reconnecting, what a close code asks for.
// docs/errors describes the codes; their range says what a client does.
"use strict";

const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 30000;
// A connection that lived shorter counts as another failure in a row.
const STABLE_MS = 5000;
const TOKEN_WAIT_MS = 10000;
const RENEW_BEFORE_S = 120;
const TIMER_MAX_MS = 2 ** 31 - 1;

export const CLOSES = {
  1000: ["closed", "the server ended the connection"],
  1001: ["going-away", "the server goes away"],
  1002: ["protocol-error", "a frame breaks the protocol"],
  1003: ["binary-frame", "only text is spoken here"],
  1006: ["lost", "the connection was lost, or the server is not there"],
  1007: ["bad-utf8", "a text was not UTF-8"],
  1009: ["too-big", "a message was over its limit"],
  1012: ["restart", "this replica stops, another one answers"],
  4000: ["bad-request", "path, query or field list is malformed"],
  4001: ["token-invalid", "the token is missing or not valid"],
  4003: ["forbidden", "the type or this page's origin is not allowed"],
  4004: ["unknown", "there is no such type"],
  4010: ["session-taken", "another socket took the session"],
  4011: ["revoked", "the right to be here was taken away"],
  4100: ["internal", "a fault of the server"],
  4101: ["slow", "this page read too slowly"],
  4102: ["over-limit", "over a limit"],
  4103: ["unavailable", "the server is not ready"],
  4200: ["drain", "this replica stops, another one answers"],
  4201: ["token-expired", "the token's time is over"],
};
const NO_PAGE = [1000, 1001, 1006];
const NEVER = [1002, 1003, 1007, 1009];

// The page that explains a code, from the root of the project; null for those without one.
export const pageOf = (code) => (CLOSES[code] && !NO_PAGE.includes(code) ? `docs/errors/${code}-${CLOSES[code][0]}.md` : null);

// What to do after a close: "stop", "now" (after `ms`) or "backoff".
export function adviceOf(code, reason) {
  if (NEVER.includes(code) || (code >= 4000 && code <= 4099)) return { kind: "stop" };
  if (code === 1012 || (code >= 4200 && code <= 4299)) {
    const hint = /^retry in (\d+) ms$/.exec(reason);
    return { kind: "now", ms: hint ? Math.min(Number(hint[1]), BACKOFF_MAX_MS) : 0, renew: code === 4201 };
  }
  return { kind: "backoff" };
}

// A token of this page's server: `{token, expiresIn, tenant}`.
export async function fetchToken() {
  const answer = await fetch("/dev/token", { cache: "no-store", signal: AbortSignal.timeout(TOKEN_WAIT_MS) });
  if (!answer.ok) throw new Error(`no token, status ${answer.status}`);
  return answer.json();
}

export class Link {
  #url;
  #hooks;
  #socket = null;
  #token = null;
  #tenant = "";
  // Each try has a number: what an overtaken one brings is dropped.
  #attempt = 0;
  #wanted = false;
  #failures = 0;
  #openedAt = 0;
  #retryAt = 0;
  #retryTimer = 0;
  #renewTimer = 0;
  #why = "";
  connects = 0;

  // `url()` is asked at each connect. Hooks: onOpen(), onMessage(text), onClose({code, advice} or null),
  // onState(state, text, detail).
  constructor(url, hooks) {
    this.#url = url;
    this.#hooks = hooks;
  }

  get isWaiting() {
    return this.#retryAt > 0;
  }

  get isWanted() {
    return this.#wanted;
  }

  // Whether it went out.
  send(text) {
    if (!this.#socket) return false;
    this.#socket.send(text);
    return true;
  }

  // A new connection, at once; the one before ends now.
  restart() {
    this.#drop();
    this.#failures = 0;
    this.connect();
  }

  stop() {
    this.#drop();
    this.#wanted = false;
    this.#hooks.onClose(null);
    this.#hooks.onState("stop", "disconnected", "by you");
  }

  #drop() {
    this.#attempt += 1;
    clearTimeout(this.#retryTimer);
    this.#retryAt = 0;
    if (this.#socket) this.#socket.close(1000);
    this.#socket = null;
  }

  async connect() {
    const attempt = ++this.#attempt;
    clearTimeout(this.#retryTimer);
    this.#retryAt = 0;
    this.#wanted = true;
    const former = this.#socket;
    if (!former) this.#hooks.onState("wait", "connecting", "");
    try {
      if (!this.#token) await this.#fetchToken();
    } catch (error) {
      if (attempt === this.#attempt) this.#retry({ kind: "backoff" }, error.message);
      return;
    }
    if (attempt !== this.#attempt) return;
    const socket = new WebSocket(this.#url(), ["vms", `bearer.${this.#token}`]);
    socket.onopen = () => {
      if (attempt !== this.#attempt) {
        socket.close(1000);
        return;
      }
      this.#socket = socket;
      this.#openedAt = performance.now();
      this.connects += 1;
      this.#hooks.onClose(null);
      this.#hooks.onOpen();
      if (former) former.close(1000);
      this.#hooks.onState("open", "connected", `tenant ${this.#tenant}`);
    };
    socket.onmessage = (event) => {
      // A former socket still brings what was under way to it; one that was given up brings nothing.
      if (attempt === this.#attempt || this.#wanted) this.#hooks.onMessage(event.data);
    };
    socket.onclose = (event) => {
      const isCurrent = this.#socket === socket;
      if (isCurrent) this.#socket = null;
      // While a successor stands or is on its way, the end of this one means nothing.
      if (attempt === this.#attempt && (isCurrent || !this.#socket)) this.#closed(event);
    };
  }

  async #fetchToken() {
    const { token, expiresIn, tenant } = await fetchToken();
    this.#token = token;
    this.#tenant = tenant;
    clearTimeout(this.#renewTimer);
    const renewIn = Math.max(expiresIn - RENEW_BEFORE_S, expiresIn / 2) * 1000;
    this.#renewTimer = setTimeout(() => this.#renew(), Math.min(renewIn, TIMER_MAX_MS));
  }

  // A socket ends with its token: a successor is opened first, and what both bring counts once.
  async #renew() {
    this.#token = null;
    if (!this.#socket) return;
    try {
      await this.#fetchToken();
    } catch {
      return; // The server ends the socket with 4201; then all begins anew.
    }
    if (this.#socket) this.connect();
  }

  #closed({ code, reason }) {
    const advice = adviceOf(code, reason);
    // A token that is no longer good may be why, whatever the code.
    if (advice.renew || code === 4001) this.#token = null;
    this.#hooks.onClose({ code, reason, advice });
    const [name] = CLOSES[code] || [reason || "closed"];
    if (advice.kind === "stop") {
      this.#wanted = false;
      this.#hooks.onState("stop", "stopped", `${code} ${name}`);
      return;
    }
    this.#retry(advice, `${code} ${name}`);
  }

  // Full jitter: somewhere between now and a limit that doubles with each failure in a row.
  #retry(advice, why) {
    if (this.#openedAt && performance.now() - this.#openedAt > STABLE_MS) this.#failures = 0;
    this.#openedAt = 0;
    const jitter = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#failures);
    const isAtOnce = advice.kind === "now" && this.#failures === 0;
    const wait = isAtOnce ? advice.ms : Math.max(jitter, advice.ms || 0);
    this.#failures += 1;
    this.#why = why;
    this.#retryAt = performance.now() + wait;
    this.#retryTimer = setTimeout(() => this.connect(), wait);
    this.tick();
  }

  // Tells how long the wait still is.
  tick() {
    if (!this.#retryAt) return;
    const seconds = Math.max(0, this.#retryAt - performance.now()) / 1000;
    this.#hooks.onState("wait", "reconnecting", `in ${seconds.toFixed(1)} s · ${this.#why}`);
  }
}
