// What a press, a drag and a release do, tool by tool; the same actions by keyboard are in keys.js.

const touches = new Map();
let drag = null;
const reach = (event) => (event.pointerType === 'touch' ? 22 : 11);

surface.addEventListener('pointerdown', (event) => {
  if (!ready || event.button > 1) return;
  surface.focus({ preventScroll: true });
  surface.setPointerCapture(event.pointerId);
  touches.set(event.pointerId, [event.clientX, event.clientY]);
  cursor.shown = false;
  if (touches.size === 2) drag = pinch();
  else if (touches.size === 1) drag = event.button === 1 ? shift(event) : TOOLS[state.tool].start(event);
  event.preventDefault();
});

surface.addEventListener('pointermove', (event) => {
  if (!touches.has(event.pointerId)) return hover(event);
  touches.set(event.pointerId, [event.clientX, event.clientY]);
  if (drag && drag.move) drag.move(event);
  draw();
});

for (const kind of ['pointerup', 'pointercancel']) {
  surface.addEventListener(kind, (event) => {
    if (!touches.delete(event.pointerId)) return;
    const finished = drag;
    drag = null;
    if (finished && finished.end && kind === 'pointerup') finished.end(event);
    draft = null;
    draw();
  });
}

surface.addEventListener('wheel', (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const frame = surface.getBoundingClientRect();
  zoomTo(view.zoom * Math.exp(-event.deltaY / 300), [event.clientX - frame.left, event.clientY - frame.top]);
}, { passive: false });

function hover(event) {
  const hit = state.tool === 'move' && ready ? hitTest(event) : null;
  surface.style.cursor = hit ? (hit.sides ? 'nwse-resize' : 'move') : TOOLS[state.tool].cursor;
}

// Two fingers: zoom and shift.
function pinch() {
  const spread = () => {
    const [a, b] = [...touches.values()];
    return { length: Math.max(1, near(a, b)), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
  };
  let before = spread();
  draft = null;
  return {
    move() {
      if (touches.size < 2) return;
      const now = spread(), frame = surface.getBoundingClientRect();
      view.x += now.middle[0] - before.middle[0];
      view.y += now.middle[1] - before.middle[1];
      zoomTo((view.zoom * now.length) / before.length, [now.middle[0] - frame.left, now.middle[1] - frame.top]);
      before = now;
    },
  };
}

function shift(event) {
  let [x, y] = [event.clientX, event.clientY];
  return {
    move(next) {
      if (view.zoom === 1) return;
      view.x += next.clientX - x;
      view.y += next.clientY - y;
      [x, y] = [next.clientX, next.clientY];
    },
  };
}

// The handle, box or key under the pointer; the selected object first, then the front one.
function hitTest(event) {
  const frame = surface.getBoundingClientRect(), at = [event.clientX - frame.left, event.clientY - frame.top];
  const order = [selectedObject(), ...[...state.objects].reverse()].filter((object) => object && !object.masks);
  for (const object of order) {
    const box = boxAt(object, state.frame);
    const handle = object.id === state.selected && handlesOf(box).find((each) => near(toScreen(each.at), at) < reach(event));
    if (handle) return { object, sides: handle.sides };
    const { x, y, w, h } = screenBox(box);
    if (at[0] >= x && at[0] <= x + w && at[1] >= y && at[1] <= y + h) return { object };
  }
  return null;
}

function startMove(event) {
  const hit = hitTest(event);
  if (!hit) return shift(event);
  state.selected = hit.object.id;
  const from = toPicture(event), before = [...boxAt(hit.object, state.frame)], frame = state.frame;
  let moved = false;
  refresh();
  return {
    move(next) {
      const [x, y] = toPicture(next), dx = x - from[0], dy = y - from[1];
      const box = [...before];
      for (const side of hit.sides || [0, 1, 2, 3]) box[side] += side % 2 ? dy : dx;
      moved = true;
      setKey(hit.object, frame, ordered(snappedBox(box)));
    },
    end() {
      if (!moved) return;
      if (frame === 0) hit.object.boxed = true;
      commit();
      if (frame === 0) segment(hit.object);
    },
  };
}

function ordered([x0, y0, x1, y1]) {
  const [w, h] = size();
  const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  return [box[0], box[1], Math.max(box[2], box[0] + 1 / w), Math.max(box[3], box[1] + 1 / h)];
}

function startBox(event) {
  const from = toPicture(event), at = [event.clientX, event.clientY];
  const hit = state.tool === 'box' ? hitTest(event) : null;
  if (hit && hit.sides) return startMove(event);
  if (props.mode === 'animate') state.frame = 0;
  return {
    move(next) {
      draft = { box: ordered([...from, ...toPicture(next)]) };
    },
    end(next) {
      if (near(at, [next.clientX, next.clientY]) < 5) return say('Drag from one corner to the other to draw a box.');
      finishBox(ordered(snappedBox([...from, ...toPicture(next)])));
    },
  };
}

function finishBox(box) {
  if (props.mode === 'guide') return addMark({ kind: 'box', box });
  const inside = [Math.max(0, box[0]), Math.max(0, box[1]), Math.min(1, box[2]), Math.min(1, box[3])];
  if (inside[0] >= inside[2] || inside[1] >= inside[3]) return say('The box lies outside of the picture; draw it over the object.');
  const object = addObject(box);
  object.boxed = true;
  commit();
  say(finished(`${object.name} added. Draw its way with the path tool, or move its box in another frame.`));
  segment(object);
}

function startPath(event) {
  const point = toPicture(event);
  const hit = hitTest(event);
  if (!selectedObject() && hit) state.selected = hit.object.id;
  const object = selectedObject();
  if (!object || object.masks) {
    say(object ? 'This object is given by masks, which already say where it is.' : 'Draw a box around the object first.');
    return null;
  }
  const line = [point];
  return {
    move(next) {
      line.push(toPicture(next));
      draft = { line, colour: colourOf(object) };
    },
    end() {
      const way = line.reduce((sum, at, i) => sum + (i ? near(toScreen(at), toScreen(line[i - 1])) : 0), 0);
      way > 8 ? followLine(object, line) : addPoint(object, point);
    },
  };
}

// A drawn line becomes the way of the box's middle, from frame 0 to the last.
function followLine(object, line) {
  const first = object.keys[0], at = centre(first.box);
  const offset = [at[0] - line[0][0], at[1] - line[0][1]];
  const inside = Math.abs(offset[0]) <= (first.box[2] - first.box[0]) / 2 && Math.abs(offset[1]) <= (first.box[3] - first.box[1]) / 2;
  const points = inside ? line.map(([x, y]) => [x + offset[0], y + offset[1]]) : [at, ...line];
  const corners = simplified(points, Math.min(MOST_KEYS, state.frames)).slice(1);
  object.keys = [first, ...corners.map((p) => ({ frame: 0, box: snappedBox(around(...p, first.box)).map(limited), angle: 0 }))];
  retime(object.keys, state.frames);
  commit();
  say(`${object.name} follows the line, with ${object.keys.length} keyframes.`);
}

function addPoint(object, point) {
  if (object.keys.length >= state.frames) return say('Every frame has a keyframe already.');
  const last = object.keys[object.keys.length - 1];
  const rest = near(toScreen(point), toScreen(centre(last.box))) < 9;
  const box = rest ? [...last.box] : snappedBox(around(...point, last.box)).map(limited);
  object.keys.push({ frame: last.frame + 1, box, angle: last.angle });
  retime(object.keys, state.frames);
  commit();
  say(rest ? `${object.name} rests here for a while.` : `${object.name} goes here next.`);
}

const startClick = (keep) => (event) => {
  const [x, y] = toPicture(event);
  return { end: () => click([x, y], keep !== (event.altKey || event.shiftKey)) };
};

function click([x, y], keep) {
  if (x < 0 || y < 0 || x >= 1 || y >= 1) return say('Click inside the picture.');
  if (props.mode === 'guide') return addMark({ kind: 'point', x: rounded(x), y: rounded(y), keep });
  let object = selectedObject();
  if (!object || object.masks || (keep && !object.clicks.length && !within(object, [x, y]))) {
    if (!keep) return say('Select an object first: a minus takes something away from it.');
    const [w, h] = size();
    object = addObject(ordered(snappedBox([x - 12 / w, y - 12 / h, x + 12 / w, y + 12 / h])));
  }
  state.frame = 0;
  object.clicks.push({ x: rounded(x), y: rounded(y), keep });
  commit();
  segment(object);
}

function within(object, [x, y]) {
  const box = object.keys[0].box;
  return x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3];
}

const brush = { size: 24 };
const startBrush = (add) => (event) => {
  if (props.mode === 'animate') state.frame = 0;
  const line = [toPicture(event)], on = add !== event.altKey;
  const colour = on ? (selectedObject() ? colourOf(selectedObject()) : '#ffffff') : '#000000';
  const show = () => (draft = { line, wide: brush.size, colour });
  show();
  return {
    move(next) {
      line.push(toPicture(next));
      show();
    },
    end: () => stroke(line, brush.size / view.scale, on),
  };
};

// Paint a stroke (its width in pixels of the picture) into the mask of the selected object, or as a mark.
function stroke(line, width, on) {
  if (props.mode === 'guide') return addMark({ kind: 'stroke', points: line.map((p) => p.map(rounded)), width, keep: on });
  let object = selectedObject();
  if (object && object.masks) return say('This object has a mask in every frame; only imported files can change them.');
  if (!object && !on) return say('Select the object that is to become smaller.');
  const layer = document.createElement('canvas');
  const [w, h] = [picture.naturalWidth, picture.naturalHeight];
  [layer.width, layer.height] = [w, h];
  const ink = layer.getContext('2d');
  ink.lineCap = ink.lineJoin = 'round';
  ink.lineWidth = (width * w) / size()[0];
  ink.beginPath();
  line.forEach(([x, y], i) => (i ? ink.lineTo(x * w, y * h) : ink.moveTo(x * w, y * h)));
  if (line.length === 1) ink.lineTo(line[0][0] * w + 0.01, line[0][1] * h);
  ink.stroke();
  const touched = ink.getImageData(0, 0, w, h).data;
  const known = object && object.mask ? sized(decoded(object.mask), h, w) : new Uint8Array(w * h);
  const data = Uint8Array.from(known, (value, i) => (touched[4 * i + 3] > 127 ? (on ? 1 : 0) : value));
  const box = maskBox({ height: h, width: w, data });
  if (!box) return say('Nothing would be left of the object; undo, or delete it.');
  object = object || addObject(box);
  object.mask = encodeRle({ height: h, width: w, data });
  fitBox(object, box);
  commit();
}

function sized({ height, width, data }, h, w) {
  if (height === h && width === w) return data;
  const result = new Uint8Array(h * w);
  for (let y = 0; y < h; y++) {
    const row = Math.floor(((y + 0.5) * height) / h) * width;
    for (let x = 0; x < w; x++) result[y * w + x] = data[row + Math.floor(((x + 0.5) * width) / w)];
  }
  return result;
}

// Give frame 0 the box of the mask; the way after it keeps its shape.
function fitBox(object, box) {
  const before = object.keys[0].box, [x, y] = centre(box), [u, v] = centre(before);
  const sx = (box[2] - box[0]) / (before[2] - before[0]), sy = (box[3] - box[1]) / (before[3] - before[1]);
  object.keys = object.keys.map((key, i) => {
    if (!i) return { ...key, box };
    const [cx, cy] = centre(key.box), w = (key.box[2] - key.box[0]) * sx, h = (key.box[3] - key.box[1]) * sy;
    return { ...key, box: around(cx + x - u, cy + y - v, [0, 0, w, h]).map(limited) };
  });
}

// Ask the page for the mask of an object; the answer comes back as props.answer. Only the last question counts.
let asked = 0;
function segment(object) {
  if (!props.segments) return;
  say('Looking for the outline ...');
  trigger('outline', { id: object.id, turn: ++asked, box: object.boxed ? object.keys[0].box : null, clicks: object.clicks });
}

function receiveAnswer(answer) {
  if (!answer || answer.turn !== asked) return;
  const object = state.objects.find((each) => each.id === answer.id);
  if (!object) return;
  if (answer.error) return say(answer.error);
  object.mask = answer.mask;
  if (!object.boxed) fitBox(object, answer.box);
  commit(true);
  say(`${object.name}: outline found. Correct it with plus and minus clicks or the brush.`);
}

const TOOLS = {
  move: { start: startMove, cursor: 'default', hint: 'Drag a box or its handles. In another frame this makes a keyframe.' },
  box: { start: startBox, cursor: 'crosshair', hint: 'Drag a box around an object.' },
  plus: { start: startClick(true), cursor: 'cell', hint: 'Click on an object to select it; click more parts to add them.' },
  minus: { start: startClick(false), cursor: 'not-allowed', hint: 'Click on what does not belong to the object.' },
  path: { start: startPath, cursor: 'crosshair', hint: 'Drag the way of the selected object, or click one place after the other.' },
  brush: { start: startBrush(true), cursor: 'crosshair', hint: 'Paint what belongs to the object.' },
  eraser: { start: startBrush(false), cursor: 'crosshair', hint: 'Paint over what does not belong to the object.' },
  hand: { start: shift, cursor: 'grab', hint: 'Drag to shift the picture when it is zoomed in.' },
};
