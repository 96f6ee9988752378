// The size of the pictures in the room that a window leaves them, and the layout that shows them largest.

const LARGEST = 640; // CSS pixels to which small pictures are enlarged, or half of the window where that is more
const WASTE = 0.75; // the part of the room that whole steps use at least

// CSS pixels for a pixel of the file: whole device pixels where it is enlarged, as much as fits where it is not. On
// dense screens, whose pixels nobody sees, it is enlarged by a fraction where whole steps would waste much room.
function crisp(own, { width, height }) {
  const ratio = devicePixelRatio || 1;
  const fitting = Math.min(width / own.width, height / own.height) * ratio;
  const largest = Math.max(LARGEST, Math.min(innerWidth, innerHeight) / 2) * ratio;
  const whole = Math.min(Math.floor(fitting), Math.max(1, Math.floor(largest / Math.max(own.width, own.height))));
  const free = fitting < 1 || (ratio >= 2 && whole < WASTE * fitting && fitting < 4);
  return (free ? Math.max(32, Math.floor(own.width * fitting)) / own.width : whole) / ratio;
}

// roomIn: a function from a layout to the CSS pixels that one picture may take in it, or null where it is not possible.
export function largest(own, roomIn) {
  const scales = {};
  for (const layout of ["row", "side", "stack", "single"]) {
    const room = roomIn(layout);
    scales[layout] = room ? crisp(own, room) : 0;
  }
  let best = "row";
  for (const layout of ["side", "stack"]) if (scales[layout] > scales[best] * 1.05) best = layout;
  const phone = innerWidth < innerHeight && innerWidth <= 600;
  if (phone && scales.single > scales[best] * 1.1) best = "single";
  return { layout: best, scale: scales[best] };
}
