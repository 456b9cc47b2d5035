// Wiring: buttons, dropped and pasted files, what the page sends.

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.tool) return useTool(button.dataset.tool);
  const actions = {
    undo: () => undo(true), redo: () => undo(false), play, hold: holdStill, key: addKey, clear: clearAll,
    in: () => zoomTo(view.zoom * 1.5), out: () => zoomTo(view.zoom / 1.5), fit: () => zoomTo(1),
  };
  if (actions[button.dataset.part]) actions[button.dataset.part]();
});

part('frame').addEventListener('input', (event) => showFrame(Number(event.target.value)));
part('turn').addEventListener('change', (event) => turnTo(Number(event.target.value)));
part('size').addEventListener('input', (event) => (brush.size = Number(event.target.value)));

function clearAll() {
  state.objects = [];
  state.marks = [];
  state.selected = null;
  commit();
  say('Everything that was drawn is gone; undo brings it back.');
}

function showPicture() {
  ready = false;
  view.zoom = 1;
  picture.src = props.picture ? props.picture.url : '';
  layout();
  refresh();
}

// A dropped or pasted picture goes to the server, which answers as if it had been chosen with the button.
async function take(files) {
  const file = [...files].find((each) => each.type.startsWith('image/'));
  if (!file) return say('Drop a picture: PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF.');
  say(`Sending ${file.name} ...`);
  try {
    const { path } = await upload(file);
    trigger('photo', { path });
  } catch (error) {
    say(`The picture could not be sent: ${error.message || error}`);
  }
}

element.addEventListener('dragover', (event) => event.preventDefault());
element.addEventListener('drop', (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
});
element.addEventListener('paste', (event) => event.clipboardData.files.length && take(event.clipboardData.files));

watch('value', () => receive(props.value));
watch('picture', showPicture);
watch('answer', () => receiveAnswer(props.answer));
// Only a wish of the slider: a drawing that comes from the page brings its own frames, perhaps a moment later.
watch('wish', () => {
  if (!props.wish || props.wish.frames === state.frames) return;
  setFrames(props.wish.frames);
  commit();
});
watch('fps', () => playing && (play(), play()));
new ResizeObserver(layout).observe(surface.parentElement);
window.addEventListener('resize', layout);

receive(props.value);
showPicture();
