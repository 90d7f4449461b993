// From an image to the tower's input, with the arithmetic of Pillow's resize: the student was trained on its pixels, and
// a canvas scales differently. See edgeclip/runtime/preprocess.py, which this mirrors.

const BITS = 22; // Pillow keeps filter weights as integers of this many fractional bits (libImaging/Resample.c)
const FILTERS = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    reach: 2,
    weight: (x) => {
      const a = -0.5, d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

/** For each output position: where its inputs start, and their weights. */
function weightsOf(from, to, { reach, weight }) {
  const scale = from / to, wide = Math.max(1, scale), support = reach * wide;
  return Array.from({ length: to }, (_, x) => {
    const centre = (x + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - start }, (_, i) => weight((i + start - centre + 0.5) / wide));
    const total = raw.reduce((sum, w) => sum + w, 0);
    return { start, weights: raw.map((w) => Math.round((w / total) * 2 ** BITS)) };
  });
}

/** One direction of the resize of RGB bytes: `lines` lines of `from` pixels, `step` and `jump` apart. */
function resizeAlong(source, target, from, to, lines, filter, at) {
  const table = weightsOf(from, to, filter);
  for (let line = 0; line < lines; line++) {
    for (let x = 0; x < to; x++) {
      const { start, weights } = table[x];
      for (let c = 0; c < 3; c++) {
        let sum = 2 ** (BITS - 1);
        for (let i = 0; i < weights.length; i++) sum += source[at.from(line, start + i) + c] * weights[i];
        target[at.to(line, x) + c] = Math.floor(sum / 2 ** BITS); // Uint8ClampedArray clips
      }
    }
  }
}

function resize({ data, width, height }, newWidth, newHeight, filter) {
  if (width === newWidth && height === newHeight) return { data, width, height };
  const wide = new Uint8ClampedArray(newWidth * height * 3);
  resizeAlong(data, wide, width, newWidth, height, filter, {
    from: (y, x) => (y * width + x) * 3,
    to: (y, x) => (y * newWidth + x) * 3,
  });
  const done = new Uint8ClampedArray(newWidth * newHeight * 3);
  resizeAlong(wide, done, height, newHeight, newWidth, filter, {
    from: (x, y) => (y * newWidth + x) * 3,
    to: (x, y) => (y * newWidth + x) * 3,
  });
  return { data: done, width: newWidth, height: newHeight };
}

/** Python's round(): halves go to the even neighbour. */
const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Width and height that the settings' resize mode wants before the square is cut or padded. */
function target({ width, height }, { size, resize_mode: mode }) {
  if (mode === "squash") return [size, size];
  if (mode === "longest") {
    const ratio = Math.max(width / size, height / size);
    return [width, height].map((side) => Math.max(1, roundEven(side / ratio)));
  }
  const other = Math.trunc((size * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [size, other] : [other, size];
}

/** "Exif" and two zeros: how a JPEG file announces what the camera wrote. */
const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];

/**
 * A JPEG without its EXIF block's name. A browser sets pictures upright by what lies in there, and cannot be told not to;
 * the tower has seen them as they lie in the file, unless its bundle says otherwise.
 */
async function withoutExif(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let at = 2; // after the marker that a JPEG begins with
  while (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[at] === 0xff && bytes[at + 1] !== 0xda && at + 4 < bytes.length) {
    if (bytes[at + 1] === 0xe1 && EXIF.every((byte, i) => bytes[at + 4 + i] === byte)) bytes[at + 4] = 0;
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return new Blob([bytes], { type: blob.type });
}

/** Decode a Blob to RGB bytes. Transparency is dropped, as Pillow's convert("RGB") drops it. */
export async function decode(blob, { exif = "ignore" } = {}) {
  const picture = exif === "apply" ? blob : await withoutExif(blob);
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(bitmap, 0, 0);
  const rgba = canvas.getImageData(0, 0, width, height).data;
  const data = new Uint8ClampedArray(width * height * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    data[j++] = rgba[i];
    data[j++] = rgba[i + 1];
    data[j++] = rgba[i + 2];
  }
  return { data, width, height };
}

/** The tower's input, Float32Array [3, size, size], of an RGB image. */
export function preprocess(image, settings) {
  const { size, mean, std, fill_color: fill } = settings;
  const scaled = resize(image, ...target(image, settings), FILTERS[settings.interpolation]);
  const left = cut(scaled.width, size), top = cut(scaled.height, size);
  const pixels = new Float32Array(3 * size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const sx = x + left, sy = y + top;
      const inside = sx >= 0 && sy >= 0 && sx < scaled.width && sy < scaled.height;
      for (let c = 0; c < 3; c++) {
        const value = inside ? scaled.data[(sy * scaled.width + sx) * 3 + c] : fill;
        pixels[(c * size + y) * size + x] = (value / 255 - mean[c]) / std[c];
      }
    }
  }
  return pixels;
}

/** Where the square starts on a side: the middle is cut out, or (negative) padded around. */
const cut = (side, size) => (side >= size ? roundEven((side - size) / 2) : -Math.trunc((size - side) / 2));
