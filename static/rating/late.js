// On the page of an end: sends an answer that this browser still keeps, and then shows how things stand (see delivery.js).

import { forget, keep, kept, send } from "./delivery.js";

const told = document.querySelector(".late");
const { home, rate, skip } = told.dataset;
const store = `evenhand:${home}`;
const answer = kept(store);

async function deliver() {
  const { refused, ...sent } = answer;
  told.hidden = false;
  const result = await send(sent.reason ? skip : rate, sent, () => {});
  told.hidden = true;
  // What something before the server refuses goes once more when the page is read again; a paused study takes it later.
  if (!result.body && !refused) keep(store, { ...sent, refused: true });
  else if (!result.body || result.status !== 403) forget(store);
  if (result.body && result.status === 200) location.reload();
}

if (answer) deliver();
