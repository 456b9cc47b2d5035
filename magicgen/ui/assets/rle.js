// Masks as COCO run-length encodings: runs of background and object in turn, down the columns.

function runsOf(counts) {
  if (Array.isArray(counts)) return counts;
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      shift += 5;
      if (!more && code & 16) value |= -1 << shift;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

function textOf(runs) {
  let text = '';
  runs.forEach((run, index) => {
    let value = index > 2 ? run - runs[index - 2] : run;
    for (let more = true; more; ) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  });
  return text;
}

// {size, counts} -> {height, width, data}: one byte a pixel, row after row.
function decodeRle(rle) {
  const [height, width] = rle.size;
  const data = new Uint8Array(height * width);
  let at = 0, value = 0;
  for (const run of runsOf(rle.counts)) {
    if (value) for (let i = at; i < at + run; i++) data[(i % height) * width + Math.floor(i / height)] = 1;
    at += run;
    value = 1 - value;
  }
  return { height, width, data };
}

function encodeRle({ height, width, data }) {
  const runs = [];
  let value = 0, run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const pixel = data[y * width + x] ? 1 : 0;
      if (pixel !== value) {
        runs.push(run);
        run = 0;
        value = pixel;
      }
      run++;
    }
  }
  runs.push(run);
  return { size: [height, width], counts: textOf(runs) };
}

// The normalised box around a mask, or null.
function maskBox({ height, width, data }) {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, y);
      y1 = y + 1;
    }
  }
  return x1 ? [x0 / width, y0 / height, x1 / width, y1 / height] : null;
}
