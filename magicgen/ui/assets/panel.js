// The parts around the picture: tools, objects, the time line with its keyframes, the line of advice.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const make = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};

function say(text) {
  part('status').textContent = text;
}

function refresh() {
  draw();
  element.querySelectorAll('[data-tool]').forEach((button) => {
    button.hidden = !props.tools.includes(button.dataset.tool);
    if (props.labels && props.labels[button.dataset.tool]) button.querySelector('span').textContent = props.labels[button.dataset.tool];
    button.setAttribute('aria-pressed', String(button.dataset.tool === state.tool));
  });
  part('undo').disabled = !history.past.length;
  part('redo').disabled = !history.future.length;
  part('empty').hidden = !!props.picture;
  part('motion').hidden = props.mode !== 'animate';
  part('brush').hidden = !['brush', 'eraser'].includes(state.tool);
  surface.style.cursor = TOOLS[state.tool].cursor;
  if (props.mode === 'animate') {
    showObjects();
    showTime();
  }
}

function useTool(tool) {
  state.tool = tool;
  corner = draft = null;
  refresh();
  say(TOOLS[tool].hint);
}

function showObjects() {
  const list = part('objects');
  const focused = document.activeElement && list.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  list.replaceChildren(...state.objects.map(objectRow));
  if (focused) {
    const again = list.querySelector(`[data-focus="${focused}"]`);
    if (again) again.focus();
  }
}

function objectRow(object, index) {
  const colour = colourOf(object), chosen = object.id === state.selected;
  const choose = () => {
    state.selected = object.id;
    refresh();
  };
  const button = (label, text, run, extra = {}) =>
    make('button', { type: 'button', 'aria-label': `${text} ${object.name}`, title: text, 'data-focus': text + object.id, onclick: run, ...extra }, label);
  const swatch = button('', 'Select', choose, { class: 'swatch', 'aria-pressed': String(chosen), style: `background:${colour}` });
  const name = make('input', {
    type: 'text', value: object.name, maxlength: 80, 'aria-label': `Name of object ${index + 1}`, 'data-focus': 'name' + object.id, onfocus: () => chosen || choose(),
    onchange: (event) => rename(object, event.target.value),
  });
  const way = make('select', {
    'aria-label': `Pace of ${object.name}`, 'data-focus': 'pace' + object.id, disabled: object.masks ? '' : null,
    onchange: (event) => {
      object.interpolation = event.target.value;
      commit();
    },
  }, ...['smooth', 'linear'].map((word) => make('option', { value: word, selected: word === object.interpolation ? '' : null }, word)));
  const front = button('\u2191', 'Bring to front', () => reorder(index), { disabled: index === state.objects.length - 1 ? '' : null });
  const clear = button('\u21ba', 'Clear the way of', () => clearWay(object), { disabled: object.masks || object.keys.length < 2 ? '' : null });
  const remove = button('\u2715', 'Delete', () => removeObject(object));
  return make('li', { class: chosen ? 'chosen' : '' }, swatch, name, way, clear, front, remove);
}

function rename(object, wanted) {
  const name = wanted.trim().slice(0, 80);
  if (!name || state.objects.some((other) => other !== object && other.name === name)) {
    say(name ? `Another object is called ${name} already.` : 'A name needs at least one letter.');
    return refresh();
  }
  object.name = name;
  commit();
}

function reorder(index) {
  const [object] = state.objects.splice(index, 1);
  state.objects.push(object);
  commit();
  say(`${object.name} lies in front of all others now.`);
}

function clearWay(object) {
  object.keys = object.keys.slice(0, 1);
  commit();
  say(`${object.name} holds still.`);
}

function removeObject(object) {
  state.objects = state.objects.filter((other) => other !== object);
  if (state.selected === object.id) state.selected = state.objects.length ? state.objects[state.objects.length - 1].id : null;
  commit();
  say(`${object.name} deleted.`);
}

function removeSelected() {
  if (props.mode === 'guide') return removeLastMark();
  const object = selectedObject();
  if (!object) return say('Nothing is selected.');
  if (state.frame > 0 && !object.masks && removeKey(object, state.frame)) {
    commit();
    return say(`Keyframe of ${object.name} at frame ${state.frame + 1} deleted.`);
  }
  removeObject(object);
}

function showFrame(frame) {
  state.frame = Math.min(Math.max(Math.round(frame), 0), state.frames - 1);
  refresh();
}

function showTime() {
  const slider = part('frame');
  slider.max = state.frames - 1;
  slider.value = state.frame;
  slider.setAttribute('aria-valuetext', `frame ${state.frame + 1} of ${state.frames}`);
  part('count').textContent = `${state.frame + 1} / ${state.frames}`;
  const object = selectedObject();
  const keyed = object && !object.masks;
  part('hold').disabled = !keyed || state.frame === 0;
  part('key').disabled = !keyed || object.keys.some((key) => key.frame === state.frame);
  part('turn').disabled = !keyed || state.frame === 0;
  if (document.activeElement !== part('turn')) part('turn').value = keyed ? Math.round(angleAt(object, state.frame)) : 0;
  const track = part('keys');
  const focused = track.contains(document.activeElement) ? Number(document.activeElement.dataset.frame) : null;
  track.replaceChildren(...(keyed ? object.keys.map((key) => keyButton(object, key)) : []));
  if (focused !== null) track.querySelector(`[data-frame="${focused}"]`)?.focus();
}

function keyButton(object, key) {
  const left = state.frames > 1 ? (100 * key.frame) / (state.frames - 1) : 0;
  const button = make('button', {
    type: 'button', class: 'key' + (key.frame === state.frame ? ' now' : ''), 'data-frame': key.frame,
    style: `left:${left}%;background:${colourOf(object)}`, title: `Keyframe at frame ${key.frame + 1}`,
    'aria-label': `Keyframe of ${object.name} at frame ${key.frame + 1}; arrow keys move it, Delete removes it`,
    onclick: () => showFrame(key.frame),
  });
  button.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      if (moveKey(object, key, key.frame + by)) commit();
      part('keys').querySelector(`[data-frame="${key.frame}"]`)?.focus();
    }
    if (event.key === 'Delete' && removeKey(object, key.frame)) commit();
  });
  button.addEventListener('pointerdown', (event) => dragKey(event, object, key));
  return button;
}

function moveKey(object, key, frame) {
  if (key === object.keys[0] || frame < 1 || frame >= state.frames || object.keys.some((other) => other.frame === frame)) return false;
  key.frame = frame;
  object.keys.sort((a, b) => a.frame - b.frame);
  state.frame = frame;
  return true;
}

function dragKey(event, object, key) {
  const track = part('keys').getBoundingClientRect();
  const move = (next) => {
    const frame = Math.round(((next.clientX - track.left) / track.width) * (state.frames - 1));
    if (frame !== key.frame && moveKey(object, key, frame)) refresh();
  };
  const end = () => {
    window.removeEventListener('pointermove', move);
    window.removeEventListener('pointerup', end);
    commit();
  };
  event.preventDefault();
  showFrame(key.frame);
  window.addEventListener('pointermove', move);
  window.addEventListener('pointerup', end);
}

// A keyframe like the one before it: the object rests until this frame.
function holdStill() {
  const object = selectedObject();
  if (!object || object.masks || state.frame === 0) return say('Select an object and a frame after the first one.');
  const before = object.keys.filter((key) => key.frame < state.frame).pop();
  setKey(object, state.frame, [...before.box], before.angle);
  commit();
  say(`${object.name} holds still from frame ${before.frame + 1} to ${state.frame + 1}.`);
}

function addKey() {
  const object = selectedObject();
  setKey(object, state.frame, [...boxAt(object, state.frame)]);
  commit();
}

function turnTo(degrees) {
  const object = selectedObject();
  if (!object || object.masks || !Number.isFinite(degrees)) return;
  const box = [...boxAt(object, state.frame)];
  setKey(object, state.frame, box);
  object.keys.find((key) => key.frame === state.frame).angle = degrees;
  commit();
}

let playing = null;
function play() {
  if (playing) {
    clearInterval(playing);
    playing = null;
  } else {
    playing = setInterval(() => (element.isConnected ? showFrame((state.frame + 1) % state.frames) : play()), 1000 / (props.fps || 8));
  }
  part('play').textContent = playing ? 'Pause' : 'Play';
}
