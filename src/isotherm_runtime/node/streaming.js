'use strict';
// Answers that are sent piece by piece: RESPONSE with Flag.MORE, CHUNK frames, END. Lambda's `awslambda` global.

const { Writable } = require('node:stream');
const { errorFrame, errorHead } = require('./errors');
const { Kind, Flag, packFrame } = require('./frames');
const { packHead } = require('./responses');

const CREDIT_BYTES = 256 * 1024; // that may be on their way; the host grants more by WINDOW frames
const PIECE_BYTES = 64 * 1024;
const PRELUDE_END = Buffer.alloc(8); // what Lambda puts between an answer's metadata and its body
const DEFAULT_TYPE = 'application/octet-stream';
const streaming = Symbol('streaming');

/** What a streaming handler writes to. Takes no more than the host has granted, so `pipeline` waits for readers. */
class ResponseStream extends Writable {
  constructor(send, stream, isHttp) {
    super({ highWaterMark: PIECE_BYTES });
    this._send = send;
    this._stream = stream;
    this._isHttp = isHttp;
    this._credit = CREDIT_BYTES;
    this._begun = false;
    this._metadata = null;
    this._contentType = DEFAULT_TYPE;
    this._waiting = null; // { data, done }: what the credit does not cover yet
  }

  setContentType(contentType) {
    this._contentType = String(contentType);
  }

  /** Throws `BadResponse`, and `Error` where the answer has begun. */
  setMetadata(metadata) {
    if (this._begun) throw new Error('HttpResponseStream.from: the answer has begun already');
    packHead({ statusCode: 200, ...metadata }, DEFAULT_TYPE);
    this._metadata = metadata;
  }

  /** The host has sent on so many bytes. */
  grant(bytes) {
    this._credit += bytes;
    this._pump();
  }

  /** The frame that ends the answer. */
  get endFrame() {
    return packFrame(Kind.END, this._stream);
  }

  /** End the answer with an error. */
  fail(kind, type, message, trace) {
    this.on('error', () => {}); // the handler may have left it without a listener
    this.destroy();
    if (this._begun) this._send(packFrame(Kind.END, this._stream, errorHead(kind, type, message, trace)));
    else this._send(errorFrame(this._stream, kind, type, message, trace));
  }

  _write(chunk, encoding, done) {
    this._waiting = { data: this._begun ? chunk : Buffer.concat([this._prelude(), chunk]), done };
    this._pump();
  }

  _final(done) {
    if (this._begun) {
      done();
    } else {
      this._waiting = { data: this._prelude(), done };
      this._pump();
    }
  }

  _pump() {
    while (this._waiting !== null && !this.destroyed) {
      const { data, done } = this._waiting;
      const size = Math.min(data.length, this._credit, PIECE_BYTES);
      if (size === 0 && data.length > 0) return;
      this._sendPiece(data.subarray(0, size));
      this._credit -= size;
      this._waiting = size < data.length ? { data: data.subarray(size), done } : null;
      if (this._waiting === null) done();
    }
  }

  _sendPiece(piece) {
    if (this._begun) {
      this._send(packFrame(Kind.CHUNK, this._stream, undefined, piece));
      return;
    }
    this._begun = true;
    const flags = this._isHttp ? Flag.MORE | Flag.HTTP : Flag.MORE;
    this._send(packFrame(Kind.RESPONSE, this._stream, this._head(), piece, flags));
  }

  _head() {
    return this._isHttp ? packHead({ statusCode: 200, ...this._metadata }, this._contentType) : undefined;
  }

  /** Without HTTP there is no head: the metadata come first in the body, as Lambda has it. */
  _prelude() {
    if (this._isHttp || this._metadata === null) return Buffer.alloc(0);
    return Buffer.concat([Buffer.from(JSON.stringify(this._metadata)), PRELUDE_END]);
  }
}

/** Run a streaming handler; settles once it has returned and its answer is complete, or one of them failed. */
function callStreaming(handler, event, response, context) {
  return new Promise((resolve, reject) => {
    let open = 2;
    const settle = () => {
      open -= 1;
      if (open === 0) resolve();
    };
    response.once('finish', settle);
    response.on('error', reject);
    response.once('close', () => {
      if (!response.writableFinished) reject(new Error('the response stream was closed before its end'));
    });
    const returned = handler(event, response, context);
    if (typeof returned?.then === 'function') returned.then(settle, reject);
    else settle();
  });
}

function install() {
  globalThis.awslambda = {
    /** Mark a handler `(event, responseStream, context)`. */
    streamifyResponse(handler) {
      handler[streaming] = true;
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      /** Status, headers and cookies of the answer; returns the stream. */
      static from(responseStream, metadata) {
        responseStream.setMetadata(metadata);
        return responseStream;
      }
    },
  };
}

function isStreaming(handler) {
  return handler[streaming] === true;
}

module.exports = { ResponseStream, callStreaming, install, isStreaming };
