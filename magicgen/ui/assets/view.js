// The picture on the screen: zoom, shift, and everything that is drawn over it.

const surface = element.querySelector('canvas');
const pen = surface.getContext('2d');
const picture = new Image();
const view = { zoom: 1, x: 0, y: 0, scale: 1, width: 0, height: 0 };
const MARGIN = 22, HANDLE = 5;
const cursor = { x: 0.5, y: 0.5, shown: false };
let draft = null; // what is being dragged: {box} or {line}
let ready = false;

picture.onload = () => {
  ready = true;
  layout();
};

function size() {
  return props.picture ? [props.picture.width, props.picture.height] : [3, 2];
}

// Fit the picture and its margin into the width that the page gives.
function layout() {
  const [w, h] = size();
  const width = surface.parentElement.clientWidth;
  if (!width) return;
  const most = Math.max(220, window.innerHeight * (props.role === 'pen' ? 0.5 : props.picture ? 0.7 : 0.45));
  const fit = Math.min((width - 2 * MARGIN) / w, (most - 2 * MARGIN) / h);
  view.width = width;
  view.height = Math.round(h * fit + 2 * MARGIN);
  view.scale = fit * view.zoom;
  if (view.zoom === 1) [view.x, view.y] = [(width - w * fit) / 2, MARGIN];
  const ratio = window.devicePixelRatio || 1;
  surface.width = Math.round(width * ratio);
  surface.height = Math.round(view.height * ratio);
  surface.style.height = view.height + 'px';
  view.ratio = ratio;
  draw();
}

function zoomTo(zoom, at = [view.width / 2, view.height / 2]) {
  const next = Math.min(16, Math.max(1, zoom)), by = next / view.zoom;
  view.x = at[0] - (at[0] - view.x) * by;
  view.y = at[1] - (at[1] - view.y) * by;
  view.zoom = next;
  layout();
  say(`Zoom ${Math.round(next * 100)} %.`);
}

const toScreen = ([x, y]) => [view.x + x * size()[0] * view.scale, view.y + y * size()[1] * view.scale];
function toPicture(event) {
  const frame = surface.getBoundingClientRect();
  const x = event.clientX - frame.left, y = event.clientY - frame.top;
  return [(x - view.x) / (size()[0] * view.scale), (y - view.y) / (size()[1] * view.scale)];
}
const near = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
// Boxes lie on whole pixels of the photo.
const snapped = ([x, y]) => [Math.round(x * size()[0]) / size()[0], Math.round(y * size()[1]) / size()[1]];
const snappedBox = (box) => [...snapped(box), ...snapped(box.slice(2))];

function screenBox(box) {
  const [x0, y0] = toScreen(box), [x1, y1] = toScreen(box.slice(2));
  return { x: x0, y: y0, w: x1 - x0, h: y1 - y0 };
}

function handlesOf(box) {
  const [x0, y0, x1, y1] = box, x = (x0 + x1) / 2, y = (y0 + y1) / 2;
  return [
    { at: [x0, y0], sides: [0, 1] }, { at: [x1, y0], sides: [2, 1] }, { at: [x0, y1], sides: [0, 3] },
    { at: [x1, y1], sides: [2, 3] }, { at: [x, y0], sides: [1] }, { at: [x, y1], sides: [3] },
    { at: [x0, y], sides: [0] }, { at: [x1, y], sides: [2] },
  ];
}

function draw() {
  if (!view.ratio) return;
  pen.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  const whole = screenBox([0, 0, 1, 1]);
  if (ready) {
    pen.imageSmoothingEnabled = view.scale < 3;
    pen.drawImage(picture, whole.x, whole.y, whole.w, whole.h);
  }
  if (ready) {
    pen.lineWidth = 1;
    pen.strokeStyle = 'rgba(255,255,255,.35)';
    pen.strokeRect(whole.x - 0.5, whole.y - 0.5, whole.w + 1, whole.h + 1);
  }
  if (ready) state.objects.forEach(drawObject);
  if (ready && props.mode === 'guide') drawMarks();
  drawDraft();
  if (cursor.shown && ready) drawCursor();
  surface.dataset.ready = ready;
  surface.dataset.value = sent;
  surface.dataset.view = JSON.stringify({ x: view.x, y: view.y, scale: view.scale, zoom: view.zoom });
}

function drawObject(object) {
  const colour = colourOf(object), active = object.id === state.selected;
  const mask = object.masks ? object.masks[state.frame] : state.frame === 0 || active ? object.mask : null;
  if (mask) drawMask(mask, colour, object.masks || state.frame === 0 ? 0.45 : 0.18);
  drawWay(object, colour, active);
  const box = boxAt(object, state.frame);
  if (!box) return;
  const { x, y, w, h } = screenBox(box);
  pen.lineWidth = active ? 4 : 3;
  pen.strokeStyle = 'rgba(0,0,0,.65)';
  pen.strokeRect(x, y, w, h);
  pen.lineWidth = active ? 2 : 1.5;
  pen.strokeStyle = colour;
  pen.strokeRect(x, y, w, h);
  drawTag(object.name, x, y, colour);
  if (active && !object.masks && (state.tool === 'move' || state.tool === 'box')) handlesOf(box).forEach(({ at }) => drawDot(toScreen(at), colour, HANDLE, true));
  if (active && state.frame === 0) object.clicks.forEach(drawClick);
}

function drawWay(object, colour, active) {
  if (object.masks || object.keys.length < 2) return;
  const last = object.keys[object.keys.length - 1].frame;
  pen.beginPath();
  for (let frame = 0; frame <= last; frame += Math.max(1, last / 96)) {
    const [x, y] = toScreen(centre(boxAt(object, Math.min(last, frame))));
    frame ? pen.lineTo(x, y) : pen.moveTo(x, y);
  }
  pen.lineTo(...toScreen(centre(object.keys[object.keys.length - 1].box)));
  pen.lineWidth = active ? 5 : 3;
  pen.strokeStyle = 'rgba(0,0,0,.55)';
  pen.stroke();
  pen.lineWidth = active ? 2.5 : 1.5;
  pen.strokeStyle = colour;
  pen.stroke();
  object.keys.forEach((key) => drawDot(toScreen(centre(key.box)), key.frame === state.frame ? '#fff' : colour, 4, false));
}

function drawDot([x, y], colour, radius, square) {
  pen.beginPath();
  square ? pen.rect(x - radius, y - radius, 2 * radius, 2 * radius) : pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = square ? '#fff' : colour;
  pen.fill();
  pen.lineWidth = 1.5;
  pen.strokeStyle = square ? colour : '#000';
  pen.stroke();
}

function drawTag(name, x, y, colour) {
  pen.font = '12px system-ui, sans-serif';
  const width = pen.measureText(name).width + 8;
  const left = Math.min(Math.max(x, 0), view.width - width), top = Math.min(Math.max(y - 17, 0), view.height - 16);
  pen.fillStyle = colour;
  pen.fillRect(left, top, width, 16);
  pen.fillStyle = light(colour) ? '#000' : '#fff';
  pen.fillText(name, left + 4, top + 12);
}

const light = (colour) => {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.3 * r + 0.59 * g + 0.11 * b > 130;
};

function drawClick({ x, y, keep, colour = keep ? '#0a7d2c' : '#b3261e' }) {
  const [px, py] = toScreen([x, y]);
  pen.beginPath();
  pen.arc(px, py, 7, 0, 7);
  pen.fillStyle = colour;
  pen.fill();
  pen.lineWidth = 2;
  pen.strokeStyle = '#fff';
  pen.stroke();
  pen.beginPath();
  pen.moveTo(px - 4, py);
  pen.lineTo(px + 4, py);
  if (keep) {
    pen.moveTo(px, py - 4);
    pen.lineTo(px, py + 4);
  }
  pen.stroke();
}

const layers = new Map();
function drawMask(rle, colour, strength) {
  const key = colour + rle.size + '|' + rle.counts;
  if (!layers.has(key)) {
    if (layers.size > 60) layers.clear();
    layers.set(key, tinted(decoded(rle), colour));
  }
  const { x, y, w, h } = screenBox([0, 0, 1, 1]);
  pen.globalAlpha = strength;
  pen.drawImage(layers.get(key), x, y, w, h);
  pen.globalAlpha = 1;
}

function tinted({ height, width, data }, colour) {
  const layer = document.createElement('canvas');
  [layer.width, layer.height] = [width, height];
  const pixels = new ImageData(width, height), rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  for (let i = 0; i < data.length; i++) if (data[i]) pixels.data.set([...rgb, 255], 4 * i);
  layer.getContext('2d').putImageData(pixels, 0, 0);
  return layer;
}

function drawDraft() {
  if (!draft) return;
  pen.setLineDash([6, 4]);
  pen.lineWidth = 2;
  pen.strokeStyle = '#fff';
  if (draft.box) {
    const { x, y, w, h } = screenBox(draft.box);
    pen.strokeRect(x, y, w, h);
    pen.lineDashOffset = 5;
    pen.strokeStyle = '#000';
    pen.strokeRect(x, y, w, h);
  }
  pen.setLineDash([]);
  pen.lineDashOffset = 0;
  if (!draft.line) return;
  pen.beginPath();
  draft.line.forEach((point, i) => (i ? pen.lineTo(...toScreen(point)) : pen.moveTo(...toScreen(point))));
  pen.lineCap = pen.lineJoin = 'round';
  pen.lineWidth = draft.wide || 3;
  pen.strokeStyle = draft.colour || '#fff';
  pen.globalAlpha = draft.wide ? 0.6 : 1;
  pen.stroke();
  pen.globalAlpha = 1;
  pen.lineCap = 'butt';
}

function drawCursor() {
  const [x, y] = toScreen([cursor.x, cursor.y]);
  for (const [width, colour] of [[4, '#000'], [2, '#fff']]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.moveTo(x - 12, y);
    pen.lineTo(x + 12, y);
    pen.moveTo(x, y - 12);
    pen.lineTo(x, y + 12);
    pen.stroke();
  }
}
