// The drawing areas of stories: boxes of one panel without a time line (layout), and a pen on paper (pen).

const WORDS = {
  layout: {
    empty: 'Plan a tale: the boxes of its panels are shown here.',
    move: 'Drag a box or its handles to say who stands where.',
    box: 'Drag a box for somebody who is missing; it is named after a character.',
  },
  pen: {
    empty: 'Choose whom to draw.',
    brush: 'Draw the outlines with the pen.',
    eraser: 'Rub lines out.',
    done: 'Drawn. Red lines become ink, green ones rub out.',
  },
};
const spoken = WORDS[props.role];
element.querySelector('.studio').dataset.role = props.role || '';
if (spoken) {
  part('invite').textContent = spoken.empty;
  part('status').textContent = '';
  for (const tool of props.tools) if (spoken[tool]) TOOLS[tool].hint = spoken[tool];
}
if (props.role === 'pen') {
  brush.size = 6;
  part('size').min = 2;
  part('size').value = 6;
}

// What a finished box or stroke says.
function finished(text) {
  if (!spoken) return text;
  return props.role === 'pen' ? spoken.done : `There are ${state.objects.length} boxes now.`;
}
