// A map of a class over its picture: what glows speaks for the class, what is blue against it. As plots.overlays draws it.

const LONGER_SIDE = 256; // px of a map: it changes slowly, and the page may enlarge it
const STRONGEST = 0.98; // quantile of its absolute values that gets the full colour
const OPAQUE = 0.75; // how much the strongest colour covers
const AGAINST = [56, 153, 255];
const GLOW = [ // matplotlib's "inferno" from 0.4 to 0.95
  [147, 38, 103], [162, 43, 98], [177, 50, 90], [191, 57, 82], [203, 65, 73], [216, 76, 62], [226, 87, 52], [235, 102, 40],
  [242, 116, 28], [247, 132, 16], [251, 150, 6], [252, 166, 12], [251, 186, 31], [249, 203, 53], [244, 221, 79], [241, 239, 117],
];

/** Draw the map of a class over the whole of a picture whose sides are as `width` to `height`.
 *
 *  maps: of answer.js, one a network and look; place: the class's. */
export function drawMap(canvas, maps, place, width, height) {
  const scale = LONGER_SIDE / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const heat = joinMaps(maps, place, canvas.width, canvas.height);
  const sorted = heat.map(Math.abs).sort();
  const limit = sorted[Math.floor(STRONGEST * (sorted.length - 1))] || 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  heat.forEach((value, at) => {
    const share = Math.max(-1, Math.min(1, value / limit));
    const [red, green, blue] = share < 0 ? AGAINST : GLOW[Math.round(share * (GLOW.length - 1))];
    image.data.set([red, green, blue, 255 * OPAQUE * Math.abs(share)], 4 * at);
  });
  context.putImageData(image, 0, 0);
}

/** Return the sum of a class's maps, Float32Array of rows: 0 where no network looked. */
export function joinMaps(maps, place, width, height) {
  const heat = new Float32Array(width * height);
  for (const map of maps) {
    const { rows, columns, box } = map;
    const grid = map.values.subarray(place * rows * columns, (place + 1) * rows * columns);
    const weight = 1 / (box.height * box.width); // a smaller box has fewer pixels for the same share of the logit
    const [top, bottom] = spanOf(box.top, box.height, height);
    const [left, right] = spanOf(box.left, box.width, width);
    for (let y = top; y < bottom; y++) {
      const [row, nextRow, down] = between(y - top, bottom - top, rows);
      for (let x = left; x < right; x++) {
        const [column, nextColumn, across] = between(x - left, right - left, columns);
        const above = grid[row * columns + column] * (1 - across) + grid[row * columns + nextColumn] * across;
        const below = grid[nextRow * columns + column] * (1 - across) + grid[nextRow * columns + nextColumn] * across;
        heat[y * width + x] += weight * (above * (1 - down) + below * down);
      }
    }
  }
  return heat;
}

function spanOf(start, length, total) {
  const first = Math.min(Math.max(round(start * total), 0), total - 1);
  return [first, Math.min(Math.max(round((start + length) * total), first + 1), total)];
}

function round(value) { // halves to the even number, as Python does
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

function between(at, length, count) { // the places around a pixel, by their middles
  const exact = Math.min(Math.max(((at + 0.5) / length) * count - 0.5, 0), count - 1);
  const low = Math.floor(exact);
  return [low, Math.min(low + 1, count - 1), exact - low];
}
