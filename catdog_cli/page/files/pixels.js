// From a file or a camera's frame to the pixels that the network takes: upright RGB over white, never scaled by the browser.
// What catdog's own reader does to a picture happens here, too: docs/phone.md says how close they are.

import { PictureError, inspect } from "./sniff.js";

const MAX_FILE_BYTES = 200e6;
const BAND_PIXELS = 2 ** 20; // drawn at once: a canvas of a whole picture is more than some phones allow
const LARGE_PIXELS = 6e6; // the network would need forty bytes for each, more than a telephone may have
const DECODING = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
const READ = "JPEG, PNG, WebP, GIF, BMP or AVIF";

/** Return {pixels, width, height, fullWidth, fullHeight} of a file.
 *
 *  pixels is a Uint8Array of RGB rows. Where the network needs `side` px at most, a large picture is reduced by a
 *  whole number, as catdog reduces it. Raises PictureError. */
export async function readPicture(file, side) {
  if (file.size > MAX_FILE_BYTES) {
    throw new PictureError(`This file has ${Math.round(file.size / 1e6)} MB, more than a picture of ${MAX_FILE_BYTES / 1e6} MB: choose another one.`);
  }
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new PictureError("This file cannot be read any more: choose it again.");
  }
  const { format } = inspect(bytes);
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), DECODING);
  } catch {
    throw new PictureError(explain(format));
  }
  return toPixels(bitmap, chooseReduction(bitmap.width, bitmap.height, side, format === "JPEG"));
}

function explain(format) {
  if (format === "HEIC") {
    return "This browser cannot read HEIC, in which iPhones keep photos: send it as JPEG (Settings, Camera, Formats, Most Compatible).";
  }
  if (["TIFF", "JPEG 2000", "PDF"].includes(format)) return `This browser cannot read ${format} files: save it as JPEG or PNG.`;
  if (format) return `This ${format} is damaged, or too large for this browser: choose another one.`;
  return `This is not a picture that a browser reads: choose a ${READ}.`;
}

/** Return by how much a picture is reduced, its shorter side still at least twice what is wanted.
 *
 *  Of a JPEG it is what images.formats.jpeg_reader does; catdog reduces others from 40 megapixels on. */
export function chooseReduction(width, height, side, isJpeg) {
  if (!isJpeg && width * height < LARGE_PIXELS) return 1;
  const room = Math.floor(Math.min(width, height) / (2 * side));
  return [8, 4, 2].find((scale) => room >= scale) ?? 1;
}

/** Return the pixels of an ImageBitmap, which is closed; see `readPicture`. */
export function toPixels(bitmap, reduceBy = 1) {
  const { width, height } = bitmap;
  const rows = Math.max(1, Math.floor(BAND_PIXELS / width / reduceBy)) * reduceBy;
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const wide = Math.ceil(width / reduceBy), high = Math.ceil(height / reduceBy);
  let pixels;
  try {
    pixels = new Uint8Array(3 * wide * high);
    for (let top = 0; top < height; top += rows) {
      const count = Math.min(rows, height - top);
      context.fillStyle = "#fff"; // on which what is transparent lies
      context.fillRect(0, 0, width, count);
      context.drawImage(bitmap, 0, -top); // pixel on pixel
      const { data } = context.getImageData(0, 0, width, count);
      const start = 3 * wide * (top / reduceBy);
      if (reduceBy === 1) dropAlpha(data, pixels, start);
      else average(data, width, count, reduceBy, pixels, start);
    }
  } catch (error) {
    throw new PictureError(`This picture has ${width} x ${height} px, too many for the memory of this browser: make it smaller.`, { cause: error });
  } finally {
    bitmap.close();
  }
  return { pixels, width: wide, height: high, fullWidth: width, fullHeight: height };
}

function dropAlpha(data, pixels, start) {
  for (let from = 0, to = start; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
}

function average(data, width, height, by, pixels, start) {
  let to = start;
  for (let top = 0; top < height; top += by) {
    const bottom = Math.min(top + by, height);
    for (let left = 0; left < width; left += by) {
      const right = Math.min(left + by, width);
      let red = 0, green = 0, blue = 0;
      for (let row = top; row < bottom; row++) {
        for (let at = 4 * (row * width + left), end = 4 * (row * width + right); at < end; at += 4) {
          red += data[at];
          green += data[at + 1];
          blue += data[at + 2];
        }
      }
      const count = (bottom - top) * (right - left);
      pixels[to++] = red / count + 0.5;
      pixels[to++] = green / count + 0.5;
      pixels[to++] = blue / count + 0.5;
    }
  }
}

/** Say whether the browser gives back the pixels that were drawn: some change them, against being recognised. */
export function readsTruly() {
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const drawn = context.createImageData(16, 16);
  for (let at = 0; at < drawn.data.length; at++) drawn.data[at] = at % 4 === 3 ? 255 : (at * 37) % 256;
  context.putImageData(drawn, 0, 0);
  const { data } = context.getImageData(0, 0, 16, 16);
  return data.every((value, at) => value === drawn.data[at]);
}
