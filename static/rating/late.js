// On the page of an end: sends an answer that this browser still keeps, and then shows how things stand (see delivery.js).
// Where the study takes no answers, the page says what becomes of it.

import { forget, keep, kept, send } from "./delivery.js";

const told = document.querySelector(".late");
const { home, rate, skip, state } = told.dataset;
const store = `evenhand:${home}`;
const answer = kept(store);

async function deliver() {
  const { refused, ...sent } = answer;
  const result = await send(sent.reason ? skip : rate, sent, () => {});
  const again = !result.body || result.status === 403; // refused before the server, or paused or closed meanwhile
  if (again && !refused) keep(store, { ...sent, refused: true }); // it goes once more
  else forget(store);
  told.hidden = true;
  if (result.body && (result.status === 200 || (again && !refused))) location.reload();
}

if (answer) {
  told.hidden = false;
  if (state !== "closed" && state !== "paused") deliver();
}
