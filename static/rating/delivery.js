// Answers on their way: kept in the browser until the server has acknowledged them.

import { retryPause } from "./pictures.js";

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

// Send until the server answers; `waiting` is called before each pause. The body is null where something between the
// page and the server refused in its own words.
export async function send(address, answer, waiting) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(address, {
        method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(answer), referrerPolicy: "no-referrer",
      });
      const later = response.status >= 500 || TRY_AGAIN.includes(response.status);
      if (!later) return { status: response.status, body: await contentOf(response) };
    } catch { /* no connection, or an acknowledgement that did not come from this server */ }
    waiting();
    await retryPause(attempt);
  }
}

async function contentOf(response) {
  try { return await response.json(); } catch (error) {
    if (response.ok) throw error; // only the server's JSON acknowledges
    return null;
  }
}
