// Everything that the mouse can do, by keyboard: arrows move the box, or a cross where a tool needs a place.

const PLACES = ['plus', 'minus', 'path', 'brush', 'eraser'];
let corner = null; // the first corner of a box that is drawn by keyboard
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LETTERS = { v: 'move', b: 'box', p: 'plus', m: 'minus', w: 'path', r: 'brush', e: 'eraser', h: 'hand' };

surface.addEventListener('keydown', (event) => {
  if (!ready) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && (key === 'z' || key === 'y')) {
    event.preventDefault();
    return undo(key === 'z' && !event.shiftKey);
  }
  if (event.ctrlKey || event.metaKey) return;
  if (ARROWS[key]) {
    event.preventDefault();
    return arrow(ARROWS[key], event);
  }
  if (key === 'Enter' || key === ' ') {
    event.preventDefault();
    return act();
  }
  if (key === 'Escape') return leave();
  if (key === 'Delete' || key === 'Backspace') return removeSelected();
  if (key === 'n' && props.mode === 'animate') return nextObject();
  if (key === '[' || key === ',') return showFrame(state.frame - 1);
  if (key === ']' || key === '.') return showFrame(state.frame + 1);
  if (key === 'k') return holdStill();
  if (key === '+' || key === '=') return zoomTo(view.zoom * 1.5);
  if (key === '-') return zoomTo(view.zoom / 1.5);
  if (key === '0') return zoomTo(1);
  if (LETTERS[key] && props.tools.includes(LETTERS[key])) useTool(LETTERS[key]);
});

function arrow([dx, dy], event) {
  const [w, h] = size(), pixels = event.shiftKey ? 10 : 1;
  const object = selectedObject();
  if (state.tool === 'hand') {
    view.x -= dx * 40;
    view.y -= dy * 40;
    return draw();
  }
  if (state.tool === 'move' && object && !object.masks) return nudge(object, (dx * pixels) / w, (dy * pixels) / h, event.altKey);
  const step = event.shiftKey ? 10 : Math.max(1, Math.round(w / 200));
  cursor.shown = true;
  [cursor.x, cursor.y] = snapped([
    Math.min(1 - 0.5 / w, Math.max(0, cursor.x + (dx * step) / w)), Math.min(1 - 0.5 / h, Math.max(0, cursor.y + (dy * step) / h)),
  ]);
  if (corner) draft = { box: ordered([...corner, cursor.x, cursor.y]) };
  draw();
  say(`Cross at ${Math.round(cursor.x * w)}, ${Math.round(cursor.y * h)}.`);
}

function nudge(object, dx, dy, resize) {
  const [x0, y0, x1, y1] = boxAt(object, state.frame);
  const box = resize ? [x0, y0, x1 + dx, y1 + dy] : [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  setKey(object, state.frame, ordered(snappedBox(box)));
  if (state.frame === 0) object.boxed = true;
  commit();
  if (state.frame === 0) later(() => segment(object));
}

let waiting = null;
function later(run) {
  clearTimeout(waiting);
  waiting = setTimeout(run, 500);
}

// Enter or space: what a click at the cross would do.
function act() {
  const at = [cursor.x, cursor.y];
  if (!cursor.shown && (PLACES.includes(state.tool) || state.tool === 'box')) {
    cursor.shown = true;
    draw();
    return say('Move the cross with the arrow keys, then press Enter.');
  }
  switch (state.tool) {
    case 'plus':
    case 'minus':
      return click(at, state.tool === 'plus');
    case 'path': {
      const object = selectedObject();
      return object && !object.masks ? addPoint(object, at) : say('Select an object first.');
    }
    case 'brush':
    case 'eraser':
      return stroke([at], brush.size / view.scale, state.tool === 'brush');
    case 'box':
      if (!corner) {
        corner = at;
        return say('First corner set. Move to the opposite corner and press Enter.');
      }
      draft = null;
      finishBox(ordered([...corner, ...at]));
      corner = null;
      return draw();
    default:
      return nextObject();
  }
}

function leave() {
  corner = draft = null;
  cursor.shown = false;
  state.selected = null;
  refresh();
  say('Nothing is selected; the next click or box makes a new object.');
}

function nextObject() {
  if (!state.objects.length) return say('There is no object yet.');
  const at = state.objects.findIndex((object) => object.id === state.selected);
  state.selected = state.objects[(at + 1) % state.objects.length].id;
  refresh();
  say(`${selectedObject().name} is selected.`);
}
