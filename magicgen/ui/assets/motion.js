// Boxes between keyframes, by the same formulas as magicgen/control/geometry.py; paths to keyframes.

const centre = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
const around = (x, y, like) => {
  const w = (like[2] - like[0]) / 2, h = (like[3] - like[1]) / 2;
  return [x - w, y - h, x + w, y + h];
};

// The box of an object at a frame, null where it has none.
function boxAt(object, frame) {
  if (object.masks) {
    const mask = object.masks[frame];
    return mask ? maskBox(decoded(mask)) : null;
  }
  const keys = object.keys;
  const exact = keys.find((key) => key.frame === frame);
  if (exact) return exact.box;
  const places = keys.map(({ box }) => [...centre(box), box[2] - box[0], box[3] - box[1]]);
  const [x, y, w, h] = interpolated(keys.map((key) => key.frame), places, frame, object.interpolation);
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

function interpolated(frames, values, frame, how) {
  const last = frames.length - 1;
  if (frame <= frames[0]) return values[0];
  if (frame >= frames[last]) return values[last];
  let part = 0;
  while (frames[part + 1] <= frame) part++;
  const step = frames[part + 1] - frames[part], u = (frame - frames[part]) / step;
  return values[part].map((left, axis) => {
    const right = values[part + 1][axis];
    if (how !== 'smooth') return left + (right - left) * u;
    const from = slopeAt(frames, values, part, axis), to = slopeAt(frames, values, part + 1, axis);
    const rise = u * u * (3 - 2 * u);
    const curve = left + (right - left) * rise + step * u * (1 - u) * (from * (1 - u) - to * u);
    return Math.min(Math.max(curve, Math.min(left, right)), Math.max(left, right));
  });
}

// Butland's slopes of a monotone cubic; at rest at both ends.
function slopeAt(frames, values, knot, axis) {
  if (knot === 0 || knot === frames.length - 1) return 0;
  const before = frames[knot] - frames[knot - 1], after = frames[knot + 1] - frames[knot];
  const s0 = (values[knot][axis] - values[knot - 1][axis]) / before;
  const s1 = (values[knot + 1][axis] - values[knot][axis]) / after;
  if (s0 * s1 <= 0) return 0;
  const w0 = 2 * after + before, w1 = after + 2 * before;
  return (w0 + w1) / (w0 / s0 + w1 / s1);
}

// Corner points of a hand-drawn line (Douglas and Peucker 1973): at most `most` of them.
function simplified(points, most) {
  if (points.length < 3) return points;
  const kept = [0, points.length - 1];
  while (kept.length < most) {
    let worst = 0.004, place = -1;
    for (let i = 0; i + 1 < kept.length; i++) {
      for (let j = kept[i] + 1; j < kept[i + 1]; j++) {
        const distance = offLine(points[j], points[kept[i]], points[kept[i + 1]]);
        if (distance > worst) [worst, place] = [distance, j];
      }
    }
    if (place < 0) break;
    kept.push(place);
    kept.sort((a, b) => a - b);
  }
  return kept.map((index) => points[index]);
}

function offLine([x, y], [x0, y0], [x1, y1]) {
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
  return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
}

// Spread keyframes over the clip so that the object keeps an even pace; a place visited twice in a row is a rest.
function retime(keys, frames) {
  const gaps = keys.slice(1).map((key, i) => {
    const a = centre(keys[i].box), b = centre(key.box);
    return Math.hypot(b[0] - a[0], b[1] - a[1]);
  });
  const way = gaps.reduce((sum, gap) => sum + gap, 0) || 1;
  const weights = gaps.map((gap) => (gap < 1e-6 ? 0.2 * way : gap));
  const whole = weights.reduce((sum, weight) => sum + weight, 0) || 1;
  let done = 0;
  keys.forEach((key, i) => {
    if (i) done += weights[i - 1];
    const wanted = Math.round((done / whole) * (frames - 1));
    const least = i ? keys[i - 1].frame + 1 : 0;
    key.frame = Math.min(Math.max(wanted, least), frames - keys.length + i);
  });
}
