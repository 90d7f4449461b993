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

const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

/**
 * Where the EXIF block of a JPEG, PNG or WebP file begins and ends, and where its TIFF header lies; null where there is
 * none. Every step goes forward, whatever a file says of its lengths.
 */
function exifBlock(bytes) {
  const view = new DataView(bytes.buffer);
  if (view.byteLength > 12 && view.getUint16(0) === 0xffd8) {
    for (let at = 2; at + 10 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
      const end = at + 2 + view.getUint16(at + 2);
      if (bytes[at + 1] === 0xe1 && text(bytes, at + 4, 6) === "Exif\0\0") return { start: at, end, tiff: at + 10 };
      at = Math.max(end, at + 4);
    }
  } else if (text(bytes, 1, 3) === "PNG") {
    for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
      if (text(bytes, at + 4, 4) === "eXIf") return { start: at, end: at + 12 + view.getUint32(at), tiff: at + 8 };
    }
  } else if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") {
    for (let at = 12; at + 8 <= bytes.length; at += 8 + view.getUint32(at + 4, true) + (bytes[at + 4] & 1)) {
      // its name alone is cut, by another of the same length: the file's header counts its bytes
      if (text(bytes, at, 4) === "EXIF") return { start: at, end: at + 4, instead: "exif", tiff: at + 8 };
    }
  }
  return null;
}

/** The EXIF orientation, 1 to 8, of a TIFF header: EXIF 2.32, 4.6.4. */
function orientation(bytes, tiff) {
  const view = new DataView(bytes.buffer, tiff), little = text(bytes, tiff, 2) === "II";
  const first = view.getUint32(4, little);
  for (let i = 0; i < view.getUint16(first, little); i++) {
    const entry = first + 2 + 12 * i;
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
  }
  return 1;
}

/** The picture without its EXIF block, and the orientation that stood in it: 1 where none can be read. */
async function withoutExif(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer()), block = exifBlock(bytes);
  if (!block) return [blob, 1];
  let turned = 1;
  try {
    turned = orientation(bytes, block.tiff);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it points beyond its end: the pixels may be sound all the same
  }
  const parts = [bytes.subarray(0, block.start), block.instead ?? "", bytes.subarray(block.end)];
  return [new Blob(parts, { type: blob.type }), turned];
}

/** Orientation -> the canvas transform that sets a picture of w x h upright. */
const UPRIGHT = {
  2: (w, h) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: (w, h) => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w, h) => [0, -1, 1, 0, 0, w],
};

/**
 * Decode a Blob to RGB bytes. Transparency is dropped, as Pillow's convert("RGB") drops it, unless the bundle names a
 * ground (rrggbb) for what is transparent to lie on. Browsers turn some files by their EXIF orientation and cannot be told
 * not to, so it is taken out first, and applied here where the bundle says so.
 */
export async function decode(blob, { exif = "ignore", ground = null } = {}) {
  const [picture, turned] = await withoutExif(blob);
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const upright = exif === "apply" ? UPRIGHT[turned] : undefined;
  const [width, height] = upright && turned > 4 ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.imageSmoothingEnabled = false;
  if (upright) canvas.setTransform(...upright(bitmap.width, bitmap.height));
  canvas.drawImage(bitmap, 0, 0);
  const rgba = canvas.getImageData(0, 0, width, height).data;
  const data = new Uint8ClampedArray(width * height * 3);
  const below = ground && [0, 2, 4].map((at) => Number.parseInt(ground.slice(at, at + 2), 16));
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3] / 255;
    for (let c = 0; c < 3; c++) data[j++] = below ? rgba[i + c] * alpha + below[c] * (1 - alpha) : rgba[i + c];
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
