// What was drawn: objects with keyframes, or guide marks; undo and redo; to and from the files of magicgen/control.

const MOST_KEYS = 9;
const state = { frames: props.frames || 17, objects: [], marks: [], frame: 0, selected: null, tool: props.tools[0] };
const history = { past: [], future: [] };
let serial = 0;
let sent = '';

const selectedObject = () => state.objects.find((object) => object.id === state.selected) || null;
const colourOf = (object) => props.palette[Math.max(0, state.objects.indexOf(object)) % props.palette.length];
const limited = (value) => Math.min(4.99, Math.max(-3.99, value));

const cache = new Map();
function decoded(rle) {
  const key = rle.size + '|' + rle.counts;
  if (!cache.has(key)) {
    if (cache.size > 200) cache.clear();
    cache.set(key, decodeRle(rle));
  }
  return cache.get(key);
}

function freshName() {
  for (let n = state.objects.length + 1; ; n++) {
    if (!state.objects.some((object) => object.name === 'object ' + n)) return 'object ' + n;
  }
}

function addObject(box) {
  const object = {
    id: ++serial, name: freshName(), keys: [{ frame: 0, box, angle: 0 }], interpolation: 'smooth', mask: null,
    masks: null, clicks: [], boxed: false,
  };
  state.objects.push(object);
  state.selected = object.id;
  return object;
}

// Set the box of an object at a frame: a keyframe is made where there is none.
function setKey(object, frame, box, angle) {
  const known = object.keys.find((key) => key.frame === frame);
  const placed = box.map(limited);
  if (known) known.box = placed;
  else object.keys.push({ frame, box: placed, angle: angle ?? angleAt(object, frame) });
  object.keys.sort((a, b) => a.frame - b.frame);
}

function angleAt(object, frame) {
  const frames = object.keys.map((key) => key.frame);
  return interpolated(frames, object.keys.map((key) => [key.angle || 0]), frame, object.interpolation)[0];
}

function removeKey(object, frame) {
  if (object.keys.length < 2 || frame === object.keys[0].frame) return false;
  object.keys = object.keys.filter((key) => key.frame !== frame);
  return true;
}

function setFrames(frames) {
  const old = state.frames;
  if (frames === old) return;
  const moved = (frame, from, to) => (from === 1 ? 0 : Math.round((frame * (to - 1)) / (from - 1)));
  for (const object of state.objects) {
    if (object.masks) object.masks = Array.from({ length: frames }, (_, f) => object.masks[moved(f, frames, old)]);
    else {
      const placed = new Map(object.keys.map((key) => [moved(key.frame, old, frames), key]));
      placed.set(moved(object.keys[0].frame, old, frames), object.keys[0]);
      object.keys = [...placed].sort((a, b) => a[0] - b[0]).map(([frame, key]) => ({ ...key, frame }));
    }
  }
  state.frames = frames;
  state.frame = Math.min(state.frame, frames - 1);
}

const rounded = (value) => Math.round(value * 1e6) / 1e6;

function toTrajectory() {
  const objects = state.objects.map((object) => {
    if (object.masks) return { name: object.name, masks: object.masks };
    const keyframes = object.keys.map(({ frame, box, angle }) => ({
      frame, box: box.map(rounded), ...(angle ? { angle: rounded(angle) } : {}),
    }));
    const mask = object.mask ? { mask: object.mask } : {};
    return { name: object.name, ...mask, keyframes, interpolation: object.interpolation };
  });
  return { version: 1, frames: state.frames, objects, ...(state.tag === undefined ? {} : { tag: state.tag }) };
}

function fromTrajectory(document) {
  state.frames = document.frames || state.frames;
  state.tag = document.tag; // what the page shows; undo never leads into another one
  state.objects = (document.objects || []).map((item) => ({
    id: ++serial, name: item.name, mask: item.mask && item.mask.size ? item.mask : null, masks: item.masks || null,
    keys: (item.keyframes || []).map(({ frame, box, angle }) => ({ frame, box, angle: angle || 0 })),
    interpolation: item.interpolation || 'linear', clicks: [], boxed: true,
  }));
  state.selected = state.objects.length ? state.objects[0].id : null;
  state.frame = 0;
}

const toValue = () => (props.mode === 'guide' ? toGuide() : toTrajectory());
const fromValue = (value) => (props.mode === 'guide' ? fromGuide(value) : fromTrajectory(value));
const snapshot = () => JSON.stringify([state.frames, state.objects, state.marks]);
let present = snapshot();

function restore(text) {
  present = text;
  [state.frames, state.objects, state.marks] = JSON.parse(text);
  if (!selectedObject()) state.selected = state.objects.length ? state.objects[state.objects.length - 1].id : null;
  state.frame = Math.min(state.frame, state.frames - 1);
}

// After every finished change: remember it for undo and hand the new value to the page.
function commit(merge = false) {
  const now = snapshot();
  if (now !== present) {
    if (!merge) {
      history.past.push(present);
      if (history.past.length > 100) history.past.shift();
    }
    history.future = [];
    present = now;
  }
  emit();
}

function emit() {
  const value = toValue();
  const text = JSON.stringify(value);
  if (text !== sent) {
    sent = text;
    props.value = value;
    trigger('input');
  }
  refresh();
}

function undo(back) {
  const [from, to] = back ? [history.past, history.future] : [history.future, history.past];
  if (!from.length) return say(back ? 'Nothing to undo.' : 'Nothing to redo.');
  to.push(present);
  restore(from.pop());
  emit();
  say(back ? 'Undone.' : 'Redone.');
}

// A value that came from the page (an import, an example, settings of an earlier run).
function receive(value) {
  const text = JSON.stringify(value);
  if (!value || text === sent) return;
  sent = text;
  const shown = state.tag;
  fromValue(JSON.parse(text));
  const now = snapshot();
  if (state.tag !== shown) history.past = [];
  else if (now !== present) history.past.push(present);
  history.future = [];
  present = now;
  refresh();
  if (!spoken) say(received());
}

// What stands on the drawing area that came from the page: an example, imported or restored work.
function received() {
  const [count, what] = props.mode === 'guide' ? [state.marks.length, 'mark'] : [state.objects.length, 'object'];
  if (!count) return 'Nothing is drawn yet.';
  if (what === 'mark') return `${count} mark${count === 1 ? '' : 's'}.`;
  return `${state.objects.map((object) => object.name).join(', ')}: ${count} object${count === 1 ? '' : 's'}, ${state.frames} frames.`;
}
