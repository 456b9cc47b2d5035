// Marks of a removal guide, in the form of magicgen/control/guide_file.py: what is reflection, and what is to stay.

const layerOf = (keep) => (keep ? 'reflection' : 'transmission');

// `keep` is true for the plus tools, which point at the reflection.
function addMark(mark) {
  const layer = layerOf(mark.keep ?? true);
  const [w, h] = size();
  const inside = (value) => Math.min(1, Math.max(0, value));
  if (mark.kind === 'point') state.marks.push({ kind: 'point', layer, at: [mark.x, mark.y] });
  if (mark.kind === 'box') state.marks.push({ kind: 'box', layer, box: mark.box.map((value) => rounded(inside(value))) });
  if (mark.kind === 'stroke') {
    const points = mark.points.map((point) => point.map(inside));
    const width = rounded(Math.min(1, mark.width / Math.min(w, h)));
    state.marks.push({ kind: 'stroke', layer, points: simplified(points, 60), width });
  }
  commit();
  say(finished(layer === 'reflection' ? 'Marked as reflection.' : 'Marked as scene, which stays.'));
}

function removeLastMark() {
  if (!state.marks.length) return say('There is no mark yet.');
  state.marks.pop();
  commit();
  say('The last mark is gone.');
}

const toGuide = () => ({ version: 1, marks: state.marks });

function fromGuide(value) {
  state.marks = (value && value.marks) || [];
}

function drawMarks() {
  for (const mark of state.marks) {
    const keep = mark.layer === 'reflection', colour = props.inks[mark.layer];
    if (mark.kind === 'point') drawClick({ x: mark.at[0], y: mark.at[1], keep, colour });
    if (mark.kind === 'box') {
      const { x, y, w, h } = screenBox(mark.box);
      pen.lineWidth = 2;
      pen.strokeStyle = colour;
      pen.strokeRect(x, y, w, h);
    }
    if (mark.kind === 'stroke') drawStroke(mark, colour);
  }
}

function drawStroke(mark, colour) {
  const [w, h] = size();
  pen.globalAlpha = 0.5;
  pen.lineCap = pen.lineJoin = 'round';
  pen.lineWidth = Math.max(2, mark.width * Math.min(w, h) * view.scale);
  pen.strokeStyle = colour;
  pen.beginPath();
  mark.points.forEach((point, i) => (i ? pen.lineTo(...toScreen(point)) : pen.moveTo(...toScreen(point))));
  if (mark.points.length === 1) pen.lineTo(toScreen(mark.points[0])[0] + 0.1, toScreen(mark.points[0])[1]);
  pen.stroke();
  pen.globalAlpha = 1;
  pen.lineCap = 'butt';
}
