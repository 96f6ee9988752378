// Answers on their way: kept in the browser until the server has acknowledged them.

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const TRY_AGAIN = [408, 425, 429]; // 4xx that say "later", not "no"

export const keep = (store, answer) => {
  try { localStorage.setItem(store, JSON.stringify(answer)); } catch { /* private windows */ }
};
export const forget = (store) => { try { localStorage.removeItem(store); } catch { /* nothing was kept */ } };
export const kept = (store) => { try { return JSON.parse(localStorage.getItem(store)); } catch { return null; } };

export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // plain http on another host than this one
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function encoded(answer) {
  const body = new URLSearchParams();
  for (const [name, value] of Object.entries(answer)) for (const each of [value].flat()) body.append(name, each);
  return body;
}

// A pause before another attempt; it ends early when the connection is back, the page is seen again, or a button asks.
export function retryPause(attempt, button) {
  const ms = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const done = () => { listeners.abort(); clearTimeout(timer); resolve(); };
    const timer = setTimeout(done, ms);
    const { signal } = listeners;
    addEventListener("online", done, { signal });
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") done(); }, { signal });
    button?.addEventListener("click", done, { signal });
  });
}

// Send until the server answers. Before each pause `waiting` is told why: "offline", "unreachable" or "server". The
// body is null where something between the page and the server refused in its own words.
export async function send(address, answer, waiting, button) {
  for (let attempt = 0; ; attempt += 1) {
    let why = "unreachable";
    try {
      const response = await fetch(address, {
        method: "POST", headers: { Accept: "application/json" }, body: encoded(answer), referrerPolicy: "no-referrer",
      });
      if (response.status < 500 && !TRY_AGAIN.includes(response.status)) {
        return { status: response.status, body: await contentOf(response) };
      }
      why = "server";
    } catch { /* no connection, or an acknowledgement that did not come from this server */ }
    waiting(navigator.onLine === false ? "offline" : why);
    await retryPause(attempt, button);
  }
}

async function contentOf(response) {
  try { return await response.json(); } catch (error) {
    if (response.ok) throw error; // only the server's JSON acknowledges
    return null;
  }
}
