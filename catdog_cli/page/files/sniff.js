// What a file says of itself, read from its bytes before anything is decoded: its format, its size, whether it breaks off.

const MAX_PIXELS = 120e6; // four bytes each while it is decoded: what browsers of phones have room for

const ascii = (bytes, start, length) => String.fromCharCode(...bytes.subarray(start, start + length));
const HEIF_BRANDS = ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"];

/** A sentence for a person: what is wrong with a picture, and what to do. */
export class PictureError extends Error {}

/** Return the format of a file by its first bytes, null of what is none that is known here. */
export function findFormat(bytes) {
  const start = ascii(bytes, 0, 4);
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "JPEG";
  if (start === "\x89PNG") return "PNG";
  if (start === "GIF8") return "GIF";
  if (start === "RIFF" && ascii(bytes, 8, 4) === "WEBP") return "WebP";
  if (start.startsWith("BM")) return "BMP";
  if (start === "II*\0" || start === "MM\0*" || start === "II+\0" || start === "MM\0+") return "TIFF";
  if (start === "%PDF") return "PDF";
  if (ascii(bytes, 4, 8) === "jP  \r\n\x87\n" || (bytes[0] === 0xff && bytes[1] === 0x4f)) return "JPEG 2000";
  if (ascii(bytes, 4, 4) === "ftyp") {
    const brand = ascii(bytes, 8, 4);
    if (brand.startsWith("avi")) return "AVIF";
    return HEIF_BRANDS.includes(brand) ? "HEIC" : null;
  }
  return null;
}

/** Return {format, width, height}, in px as stored; null sizes where a format does not say.
 *  Raises PictureError of a file that breaks off, is empty or declares too much. */
export function inspect(bytes) {
  if (!bytes.length) throw new PictureError("This file is empty: choose another one.");
  const format = findFormat(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let size;
  try {
    size = READERS[format]?.(view, bytes) ?? [null, null];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // of a DataView: behind the end
    throw new PictureError(`This ${format} breaks off: part of the file is missing, so get it again.`);
  }
  const [width, height] = size;
  if (width * height > MAX_PIXELS) {
    throw new PictureError(
      `This picture has ${Math.round(width * height / 1e6)} megapixels, more than the ${MAX_PIXELS / 1e6} that this page reads: make it smaller.`,
    );
  }
  return { format, width, height };
}

const READERS = {
  JPEG(view, bytes) {
    let at = 2, size = null;
    for (;;) {
      if (view.getUint8(at) !== 0xff) { at += 1; continue; } // what decoders skip, too
      const marker = view.getUint8(at + 1);
      if (marker === 0xff) { at += 1; continue; }
      if (marker <= 1 || (marker >= 0xd0 && marker <= 0xd8)) { at += 2; continue; } // no length follows
      const length = view.getUint16(at + 2);
      if (marker === 0xda) break;
      const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
      if (isFrame) size = [view.getUint16(at + 7), view.getUint16(at + 5)];
      at += 2 + Math.max(length, 2);
    }
    if (!hasJpegEnd(bytes, at)) throw new RangeError();
    return size;
  },
  PNG(view, bytes) {
    const size = [view.getUint32(16), view.getUint32(20)];
    let at = 8;
    while (ascii(bytes, at + 4, 4) !== "IEND") at += 12 + view.getUint32(at);
    return size;
  },
  GIF: (view) => [view.getUint16(6, true), view.getUint16(8, true)],
  BMP: (view) => [view.getInt32(18, true), Math.abs(view.getInt32(22, true))],
  WebP(view, bytes) {
    if (view.getUint32(4, true) + 8 > bytes.length + 1) throw new RangeError(); // odd lengths may lack their last byte
    const kind = ascii(bytes, 12, 4);
    if (kind === "VP8X") return [read24(view, 24) + 1, read24(view, 27) + 1];
    if (kind === "VP8L") {
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  },
  AVIF(view, bytes) {
    const at = ascii(bytes, 0, Math.min(bytes.length, 4096)).indexOf("ispe");
    return at < 0 ? null : [view.getUint32(at + 8), view.getUint32(at + 12)];
  },
};

const read24 = (view, at) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);

function hasJpegEnd(bytes, start) { // stuffing keeps FF D9 out of a scan's own data
  for (let at = bytes.lastIndexOf(0xd9); at > start; at = bytes.lastIndexOf(0xd9, at - 1)) {
    if (bytes[at - 1] === 0xff) return true;
  }
  return false;
}
