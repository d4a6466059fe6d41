// From the outputs of the network to what `catdog predict --json` says of a picture.

/** Return the row of a picture: {status, error, known, labels, predictions, maps}.
 *
 *  found: the outputs of the graph by name, of one picture.
 *  about: model.json.
 *  read: what pixels.js returned of it. */
export function rowOf(found, about, read) {
  const values = found.probabilities.data;
  const classes = about.classes.map((each, place) => ({ class: each.class, name: each.name, probability: values[place], place }));
  const ranked = [...classes].sort((one, other) => other.probability - one.probability || one.place - other.place);
  const row = { status: "ok", error: null, predictions: ranked.map(({ place, ...rest }) => rest) };
  if (about.unknown) {
    const p = found.known_p.data[0];
    row.known = { p_value: p, is_known: p > about.unknown.rate };
  }
  if (about.several_labels) {
    row.labels = ranked.filter((each) => each.probability >= about.classes[each.place].threshold).map(({ place, ...rest }) => rest);
  }
  if (about.maps) row.maps = about.maps.map((map) => readMap(found[map.name], map, about.longest_sides, read));
  return row;
}

function readMap(output, map, longestSides, read) {
  const [, , rows, columns] = output.dims;
  return { values: output.data, rows, columns, box: seenBox(read.fullHeight, read.fullWidth, map, longestSides) };
}

/** Return what a network sees of a picture, as shares of its height and width: explanation.placement. */
function seenBox(height, width, map, longestSides) {
  const shorter = Math.min(height, width);
  const side = map.kind === "none" ? (shorter * map.size) / map.resize : longestSides * shorter;
  const share = (whole) => (map.kind === "none" ? side : Math.min(whole, side)) / whole;
  const [high, wide] = [share(height), share(width)];
  return { top: (1 - high) / 2, left: (1 - wide) / 2, height: high, width: wide };
}
