'use strict';
// The sandbox protocol as frames.py beside this folder describes it: a header of 20 bytes, a JSON head, a raw body.

const PROTOCOL_VERSION = 1;
const HEADER_BYTES = 20;
const MAX_HEAD_BYTES = 256 * 1024;
const MAX_BODY_BYTES = 64 * 1024 * 1024;

const Kind = Object.freeze({
  HELLO: 1, REQUEST: 2, RESPONSE: 3, CHUNK: 4, END: 5, ERROR: 6, CANCEL: 7, WINDOW: 8, PING: 9, DRAIN: 10, LOG: 11,
});
const Flag = Object.freeze({ NONE: 0, HTTP: 1, MORE: 2, TRUNCATED: 4 });
const NOTHING = Buffer.alloc(0);

/** The host broke the protocol: the stream is of no more use. */
class FrameError extends Error {}

/** One frame. Throws `FrameError` where head or body is over its limit. */
function packFrame(kind, stream, head = NOTHING, body = NOTHING, flags = Flag.NONE) {
  if (head.length > MAX_HEAD_BYTES || body.length > MAX_BODY_BYTES) {
    throw new FrameError(`frame too large: head ${head.length}, body ${body.length} bytes`);
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(head.length + body.length, 0);
  header.writeUInt32LE(head.length, 4);
  header.writeUInt32LE(stream, 8);
  header[16] = kind;
  header[17] = flags;
  return Buffer.concat([header, head, body]);
}

/** Cuts what comes into frames; `onFrame(kind, flags, stream, deadlineMs, head, body)` gets each. */
class FrameReader {
  constructor(onFrame) {
    this._onFrame = onFrame;
    this._parts = [];
    this._have = 0;
    this._need = 0;
  }

  /** Throws `FrameError`. */
  push(data) {
    if (this._parts.length > 0) {
      this._parts.push(data);
      this._have += data.length;
      if (this._have < this._need) return;
      data = Buffer.concat(this._parts, this._have);
      this._parts = [];
    }
    let offset = 0;
    let need = HEADER_BYTES;
    while (data.length - offset >= HEADER_BYTES) {
      const length = data.readUInt32LE(offset);
      const headLength = data.readUInt32LE(offset + 4);
      if (length > MAX_HEAD_BYTES + MAX_BODY_BYTES || headLength > length || headLength > MAX_HEAD_BYTES) {
        throw new FrameError(`frame of ${length} bytes with a head of ${headLength} is over the limit`);
      }
      need = HEADER_BYTES + length;
      if (data.length - offset < need) break;
      this._take(data.subarray(offset, offset + need), headLength);
      offset += need;
      need = HEADER_BYTES;
    }
    if (offset < data.length) {
      this._parts.push(data.subarray(offset));
      this._have = data.length - offset;
      this._need = need;
    }
  }

  _take(frame, headLength) {
    const middle = HEADER_BYTES + headLength;
    const head = frame.subarray(HEADER_BYTES, middle);
    this._onFrame(frame[16], frame[17], frame.readUInt32LE(8), frame.readUInt32LE(12), head, frame.subarray(middle));
  }
}

module.exports = { PROTOCOL_VERSION, MAX_HEAD_BYTES, Kind, Flag, FrameError, FrameReader, packFrame };
